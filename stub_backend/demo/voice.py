"""The output of the demo."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any


def coloured(output: Any, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether to colour this output: on a terminal, unless NO_COLOR is set."""
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb":
        return False
    return bool(output.isatty())


class Voice:
    """Prints the demo's text to standard output."""

    def __init__(self) -> None:
        self._coloured = coloured(sys.stdout)

    def heading(self, text: str) -> None:
        """Print the heading of a new part."""
        print(f"\n{self._dress('1', text)}", flush=True)

    def say(self, text: str = "") -> None:
        """Print one line."""
        print(text, flush=True)

    def token(self, text: str) -> None:
        """Print a token of a response as it arrives."""
        print(self._dress("36", text), end="", flush=True)

    def _dress(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._coloured else text
