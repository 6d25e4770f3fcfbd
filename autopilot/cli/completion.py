"""Print a script that makes a shell complete this command's words.

It is made from the command's own arguments, so it belongs to this version.

Exit status: 0, or 2 for a shell that is not known.
"""

from __future__ import annotations

import argparse
from typing import Any

NAME = "completion"
HELP = "a script for your shell that completes this command's words"
EXAMPLES = """\
  autopilot completion bash > ~/.local/share/bash-completion/completions/autopilot
  autopilot completion zsh > ~/.zfunc/_autopilot       (a directory in $fpath)
  autopilot completion fish > ~/.config/fish/completions/autopilot.fish
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


async def run(reactor: Any, given: argparse.Namespace) -> int:
    """Print the script; the exit status."""
    import shtab

    print(shtab.complete(given.parser, shell=given.shell))  # noqa: T201
    return 0
