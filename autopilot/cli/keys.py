"""Make a key for a client of this router, and print its entry for the file of KEYS_FILE.

The key goes to standard error, this once, and the entry to standard output, so that the entry can
be appended to the file. The router keeps the key's SHA-256 only, and cannot print the key again.

Exit status: 0, or 2 for a name that the file cannot have.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from hashlib import sha256
from typing import Any, Final

NAME = "keys"
HELP = "make a key for a client of this router"
EXAMPLES = """\
  autopilot keys new alice                     print a key, and its entry
  autopilot keys new alice | tee -a keys.toml  append the entry; then reload the router (SIGHUP)
"""

_PREFIX: Final = "ap-"
_SECRET_BYTES: Final = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    new = actions.add_parser("new", help="make a key", description="Make a key.")
    new.add_argument(
        "name", metavar="NAME", help="letters, digits and ._-; logs and metrics show it"
    )


async def run(reactor: Any, given: argparse.Namespace) -> int:
    """Print the key and its entry, and return the exit status."""
    from autopilot.cli.console import CommandError
    from autopilot.settings.files.entries import ENTRY_NAME, NAME_RULE

    name = given.name
    if not ENTRY_NAME.fullmatch(name):
        raise CommandError(f"{name!a} is not a name for a key; {NAME_RULE}")
    key = _PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    quoted = name if "." not in name else f'"{name}"'
    print(f"The key of {name}, which is not shown again:\n{key}", file=sys.stderr)  # noqa: T201
    sys.stderr.flush()
    print(f'\n[keys.{quoted}]\nsha256 = "{sha256(key.encode()).hexdigest()}"')  # noqa: T201
    return 0
