"""Run the router against a stand-in for the platform, and watch it answer.

It needs no key and no network. Four streamed requests show the alias, a list with failover, a
direct name and a stream that breaks; after each, the demo explains the choice. Then eight users
show that a conversation stays where its prompt is cached. Both processes end with the command.

With --private, the requests are encrypted to instances whose evidence the router verifies: the demo
shows what was verified, the bytes on the wire, and failover. It needs a checkout and the extra
`private`.

Exit status: 0, 1 if the demo failed, or 2 for invalid input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from autopilot.cli.arguments import Parser, help_of, print_error

NAME: Final = "demo"
HELP: Final = "watch the router answer, without a key and a network"
EXAMPLES: Final = """\
  autopilot demo
  autopilot demo --stay                 (keeps both running, with the address of /status)
  autopilot demo --stay --port 8080
  autopilot demo --private
"""

# Below the package in a wheel, so that it does not occupy a name among the installed packages;
# beside the package in a checkout.
_PACKAGE: Final = Path(__file__).resolve().parents[1]
_PLACES: Final = (_PACKAGE / "_demo", _PACKAGE.parent)
_MAX_PORT: Final = 65_535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--stay", action="store_true", help="keep the router running until Ctrl-C, to look around"
    )
    parser.add_argument(
        "--port", type=_port, default=0, help="the router's port; 0 is any free one [%(default)s]"
    )
    parser.add_argument(
        "--private", action="store_true", help="encrypt the requests to verified instances"
    )
    # The program that runs the command, for which the demo names the commands to try next.
    parser.add_argument("--by-make", action="store_true", help=argparse.SUPPRESS)


def _port(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or int(text) > _MAX_PORT:
        raise argparse.ArgumentTypeError(f"not a port up to {_MAX_PORT}")
    return int(text)


def start(words: Sequence[str]) -> int:
    """Run the demo and return its exit status."""
    parser = Parser(prog=f"autopilot {NAME}", **help_of(sys.modules[__name__]))
    add_arguments(parser)
    given = parser.parse_args(words)
    tour = import_tour(_PLACES)
    if tour is None:
        return print_error(
            "the demo is not part of this installation (an image omits it); run it from a checkout"
            " or an installed wheel"
        )
    options = {"by_make": given.by_make, "in_private": given.private}
    return int(tour.play(stay=given.stay, port=given.port, **options))


def import_tour(places: Sequence[Path]) -> Any:
    """Return the demo's module from the first place that has it, or None."""
    for place in places:
        if (place / "stub_backend" / "demo").is_dir():
            sys.path.insert(0, str(place))
            return import_module("stub_backend.demo.tour")
    return None
