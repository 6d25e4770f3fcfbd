"""Writes a CycloneDX document of the packages in the image: digests, licences, dependencies.

Its inputs are the locks of the image, and the metadata of those versions as installed here. It
depends on no time or machine, so that the same locks give the same document.
"""

import argparse
import hashlib
import json
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from autopilot import __version__
from tools.licences import UNSTATED, UnknownError, about, installed, licence_of
from tools.locked import Pin, in_image, pins
from tools.locks import IN_IMAGE, ROOT, SBOM, property_of


def document(root: Path = ROOT) -> str:
    """Return the document for the locks of a checkout."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    lock = root / IN_IMAGE[-1]
    pinned = {pin.name: pin for pin in pins(lock) if in_image(pin.marker)}

    def requires(name: str) -> list[Requirement]:
        if name not in pinned:
            raise UnknownError(f"{name} is needed, and {lock.name} has none: run `make locks`")
        return [Requirement(each) for each in installed(pinned[name]).requires or ()]

    wanted = (*project["dependencies"], *project["optional-dependencies"]["private"])
    asked = dependencies([Requirement(each) for each in wanted], requires)
    refs = {name: _purl(pin.name, pin.version) for name, pin in pinned.items()}
    router = _purl(project["name"], __version__)
    described = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "lifecycles": [{"phase": "pre-build"}],
            "authors": project["authors"],
            "component": {
                "type": "application",
                "bom-ref": router,
                "name": project["name"],
                "version": __version__,
                "description": project["description"],
                "licenses": licence(project["license"]),
                "purl": router,
            },
            "properties": [
                {
                    "name": property_of(each),
                    "value": hashlib.sha256((root / each).read_bytes()).hexdigest(),
                }
                for each in IN_IMAGE
            ],
        },
        "components": [_component(pin) for pin in pinned.values()],
        "dependencies": [
            {
                "ref": refs.get(name, router),
                "dependsOn": [refs[each] for each in sorted(asked[name])],
            }
            for name in ("", *pinned)
        ],
    }
    return json.dumps(described, indent=1, ensure_ascii=False) + "\n"


def dependencies(
    roots: Iterable[Requirement], requires: Callable[[str], Iterable[Requirement]]
) -> defaultdict[str, set[str]]:
    """Return the dependencies of each package, extras included; the root has an empty name."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    todo = [("", "", each) for each in roots]
    seen = set()
    while todo:
        asking, extra, requirement = todo.pop()
        if not in_image(requirement.marker, extra):
            continue
        name = canonicalize_name(requirement.name)
        found[asking].add(name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                todo += [(name, wanted, each) for each in requires(name)]
    return found


def _purl(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version}"


def licence(stated: str) -> list[dict[str, Any]]:
    """Return a licence for CycloneDX: an SPDX id, an SPDX expression, or words."""
    if stated == UNSTATED:
        return []
    declared = {"acknowledgement": "declared"}
    try:
        expression = canonicalize_license_expression(stated)
    except InvalidLicenseExpression:
        return [{"license": {"name": stated, **declared}}]
    if " " in expression:
        return [{"expression": expression, **declared}]
    return [{"license": {"id": expression, **declared}}]


def _component(pin: Pin) -> dict[str, Any]:
    stated = about(pin)
    files = {
        "type": "distribution",
        "url": f"https://pypi.org/project/{pin.name}/{pin.version}/#files",
        "hashes": [{"alg": "SHA-256", "content": each} for each in pin.hashes],
    }
    return {
        "type": "library",
        "bom-ref": _purl(pin.name, pin.version),
        "name": pin.name,
        "version": pin.version,
        "description": str(stated.get("Summary", "")),
        "licenses": licence(licence_of(stated)),
        "purl": _purl(pin.name, pin.version),
        "externalReferences": [files],
    }


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Write the document; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=ROOT / SBOM, help="where it goes")
    asked = parser.parse_args(arguments)
    try:
        asked.file.write_text(document(root), "utf-8")
    except (OSError, ValueError, UnknownError) as why:
        print(f"no bill of materials was written: {why}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
