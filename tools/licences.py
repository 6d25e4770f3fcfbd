"""The licence of each package that comes with the router, and whether it was agreed to.

A package states its licence in its own metadata: as an SPDX expression, or as older ones do, in
words. The list is docs/licences.md; `make licences` writes it.

Exit status: 0 all were agreed to, 1 one was not, or cannot be found out.
"""

import argparse
import sys
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import cast

from tools.locked import Pin, in_image, pins

# They ask for their text to be kept, and nothing of the code that uses them. MPL-2.0 asks that
# changes to its own files be published; nothing is changed.
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
# Words that packages without an expression use.
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
    """What is installed here does not tell about what is locked."""


def licence_of(stated: Message) -> str:
    """Read the expression; else the words, else the classifiers, when they name one licence."""
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
    """Tell whether one alternative asks only for licences agreed to; one in brackets never does.

    What stands in brackets is for a person to read, who then may add the whole expression.
    """
    if expression in AGREED:
        return True
    return "(" not in expression and any(
        all(each.strip() in AGREED for each in alternative.split(" AND "))
        for alternative in expression.split(" OR ")
    )


def installed(pin: Pin) -> metadata.Distribution:
    """Find what is locked among what is installed here; another version says nothing about it."""
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
    """Give what the package says of itself."""
    return cast("Message", installed(pin).metadata)


def licences(lock: Path) -> list[tuple[Pin, str]]:
    """Give the licence of each package of a lock that the image installs."""
    return [(pin, licence_of(about(pin))) for pin in pins(lock) if in_image(pin.marker)]


def page(listed: list[tuple[Pin, str]]) -> str:
    """Write the list as a page of the documentation."""
    return _HEAD + "".join(f"| {pin.name} | {pin.version} | {what} |\n" for pin, what in listed)


def main(arguments: list[str]) -> int:
    """List them, and say which were not agreed to."""
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
