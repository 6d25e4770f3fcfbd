"""The help of the `autopilot` command."""

from __future__ import annotations

import argparse
import os
from unittest.mock import patch

from autopilot.cli import entry


def command_help() -> str:
    """Return the help of the command and of each subcommand."""
    whole = entry.parser()
    (subs,) = (each for each in whole._actions if isinstance(each, argparse._SubParsersAction))
    parts = [
        ("autopilot", whole),
        *((f"autopilot {name}", own) for name, own in subs.choices.items()),
    ]
    with patch.dict(os.environ, COLUMNS="80"):
        return "\n\n".join(
            f"## `{name}`\n\n```text\n{parser.format_help().strip()}\n```" for name, parser in parts
        )
