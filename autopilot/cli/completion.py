"""Print a shell completion script for this command.

The script is generated from this version's arguments; install it again after an upgrade.

Exit status: 0, or 2 for an unsupported shell.
"""

from __future__ import annotations

import argparse
from typing import Any

NAME = "completion"
HELP = "print a shell completion script"
EXAMPLES = """\
  autopilot completion bash > ~/.local/share/bash-completion/completions/autopilot
  autopilot completion zsh > ~/.zfunc/_autopilot       (a directory in $fpath)
  autopilot completion fish > ~/.config/fish/completions/autopilot.fish
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


async def run(reactor: Any, given: argparse.Namespace) -> int:
    """Print the script and return the exit status."""
    import shtab

    print(shtab.complete(given.parser, shell=given.shell))  # noqa: T201
    return 0
