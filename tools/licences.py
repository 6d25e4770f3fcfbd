"""The licence of each package in the image, and whether it is allowed.

A package states its licence in its metadata: as an SPDX expression, or in older ones as words.
`make licences` writes the list to docs/licences.md.

Exit status: 0 all are allowed; 1 one is not, or is unknown.
"""

import argparse
import sys
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import cast

from tools.locked import Pin, in_image, pins

# They require that their text is kept, and nothing of the code that uses them. MPL-2.0 requires
# that changes to its own files are published; the image contains no such change.
AGREED = frozenset(
    {
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "MIT",
        "MIT-0",
        "MPL-2.0",
        "PSF-2.0",
        "ZPL-2.1",
    }
)
# Statements of packages without an expression.
_IN_WORDS = {
    "Apache License, Version 2.0": "Apache-2.0",
    "License :: OSI Approved :: MIT License": "MIT",
}
UNSTATED = "unstated"
_HEAD = """\
# Licences

The packages that the image installs for the router, which is itself under the MIT licence. They
are listed from their own metadata by `make licences`, which fails on a licence that was not agreed
to. The bill of materials, `deploy/image/sbom.cdx.json`, adds digests and what needs what. Debian's
packages in the image are not among them.

| package | version | licence |
|---|---|---|
"""


class UnknownError(Exception):
    """The metadata of the installed packages does not match the lock."""


def licence_of(stated: Message) -> str:
    """Return the SPDX expression; otherwise the words or classifiers, if they name one licence."""
    expression = stated.get("License-Expression")
    if expression:
        return str(expression)
    words = str(stated.get("License", "")).strip()
    words = _IN_WORDS.get(words, words)
    if words in AGREED:
        return words
    classifiers = stated.get_all("Classifier", [])
    classified = [str(each) for each in classifiers if str(each).startswith("License :: ")]
    if len(classified) == 1:
        return _IN_WORDS.get(classified[0], classified[0])
    return words.partition("\n")[0] or UNSTATED


def agreed(expression: str) -> bool:
    """Return whether an alternative of the expression consists of allowed licences only.

    Brackets are not parsed: a person must add such an expression as a whole.
    """
    if expression in AGREED:
        return True
    return "(" not in expression and any(
        all(each.strip() in AGREED for each in alternative.split(" AND "))
        for alternative in expression.split(" OR ")
    )


def installed(pin: Pin) -> metadata.Distribution:
    """Return the metadata of a locked package, which must be installed in the locked version."""
    try:
        found = metadata.distribution(pin.name)
    except metadata.PackageNotFoundError:
        raise UnknownError(
            f"{pin.name} {pin.version} is not installed here: run `make venv`"
        ) from None
    if found.version != pin.version:
        raise UnknownError(
            f"{pin.name}: {found.version} is installed, {pin.version} locked: run `make venv`"
        )
    return found


def about(pin: Pin) -> Message:
    """Return what a package states about itself."""
    return cast("Message", installed(pin).metadata)


def licences(lock: Path) -> list[tuple[Pin, str]]:
    """Return the licence of each package of a lock that the image installs."""
    return [(pin, licence_of(about(pin))) for pin in pins(lock) if in_image(pin.marker)]


def page(listed: list[tuple[Pin, str]]) -> str:
    """Return the list as a page of the documentation."""
    return _HEAD + "".join(f"| {pin.name} | {pin.version} | {what} |\n" for pin, what in listed)


def main(arguments: list[str]) -> int:
    """Write the list, and report packages that are not allowed; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lock", type=Path, help="a requirements lock, installed here")
    parser.add_argument("page", type=Path, help="where the list goes")
    asked = parser.parse_args(arguments)
    try:
        listed = licences(asked.lock)
    except (OSError, ValueError) as why:
        parser.error(str(why))
    except UnknownError as why:
        print(f"licences not known: {why}", file=sys.stderr)
        return 1
    asked.page.write_text(page(listed), "utf-8")
    wrong = [(pin, what) for pin, what in listed if not agreed(what)]
    for pin, what in wrong:
        print(f"{pin.name} {pin.version}: {what} was not agreed to", file=sys.stderr)
    print(f"{len(listed)} packages, {len(wrong)} with a licence not agreed to: {asked.page}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
