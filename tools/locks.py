"""Checks that the locks are complete, unmodified, and made from the current pyproject.toml.

`make locks` records a digest of each lock and of its inputs; the comparison needs no network and no
installed package.
"""

import argparse
import hashlib
import json
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = (
    "locks/runtime.txt",
    "locks/tracing.txt",
    "locks/private.txt",
    "locks/development.txt",
    "locks/build.txt",
    "locks/litellm.txt",
    "locks/frameworks.txt",
    "locks/e2ee.txt",
)
RECORD = "locks/digests.json"
ASKED = "pyproject.toml"
SBOM = "deploy/image/sbom.cdx.json"
# The image installs the last one, which extends the other.
IN_IMAGE = ("locks/runtime.txt", "locks/private.txt")


def asked_for(pyproject: str) -> str:
    """Return a digest of the inputs of a resolution, a part of pyproject.toml."""
    read = tomllib.loads(pyproject)
    project = read["project"]
    wanted = ("dependencies", "optional-dependencies", "requires-python")
    deciding = [{key: project.get(key) for key in wanted}, read.get("dependency-groups")]
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def digests(root: Path) -> dict[str, str]:
    """Return digests of the inputs and of the existing locks."""
    found = {ASKED: asked_for((root / ASKED).read_text("utf-8"))}
    for name in LOCKS:
        if (root / name).is_file():
            found[name] = hashlib.sha256((root / name).read_bytes()).hexdigest()
    return found


def property_of(lock: str) -> str:
    """Return the name of the property in the bill of materials with a lock's digest."""
    return f"chutes-autopilot:{lock}:sha256"


def described(root: Path) -> dict[str, str]:
    """Return the digests in the bill of materials, by the names of their properties."""
    try:
        stated = json.loads((root / SBOM).read_text("utf-8"))["metadata"]["properties"]
        return {str(each["name"]): str(each["value"]) for each in stated}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def complaints(root: Path) -> list[str]:
    """Return a line for each missing or modified file."""
    now = digests(root)
    said = [
        f"{name} is missing: restore it, or run `make locks`" for name in LOCKS if name not in now
    ]
    try:
        recorded = json.loads((root / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return [*said, f"{RECORD} is missing or unreadable: restore it, or run `make locks`"]
    if now[ASKED] != recorded.get(ASKED):
        said.append(
            f"the dependencies in {ASKED} changed since the locks were made: run `make locks`"
        )
    said += [
        f"{name} was modified since `make locks` wrote it: restore it, or run `make locks`"
        for name in LOCKS
        if name in now and now[name] != recorded.get(name)
    ]
    described_now = described(root)
    said += [
        f"{SBOM} is not of {name} as it is: run `make sbom`"
        for name in IN_IMAGE
        if name in now and described_now.get(property_of(name)) != now[name]
    ]
    return said


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Compare, or with --record write the digests; return 1 on a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="the locks were made anew")
    if parser.parse_args(arguments).record:
        (root / RECORD).write_text(json.dumps(digests(root), indent=2) + "\n", "utf-8")
        return 0
    said = complaints(root)
    for line in said:
        print(line, file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
