"""How a sub-command says that it cannot go on."""

from __future__ import annotations


class CommandError(Exception):
    """Why there is no result: one line, safe to show."""
