"""Streaming, OpenAI-compatible router for Chutes.ai models: what an embedding application imports.

The names are looked up on first use, so that ``import autopilot`` (which the ``twistd`` plugin and
every submodule cause) neither chooses a reactor nor imports Klein, which would choose one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from autopilot._version import __version__

if TYPE_CHECKING:
    from autopilot.service.lifecycle import AutopilotService, autopilot_resource
    from autopilot.settings import Settings

__all__ = ["AutopilotService", "Settings", "__version__", "autopilot_resource"]

_HOMES = {
    "AutopilotService": "autopilot.service.lifecycle",
    "Settings": "autopilot.settings",
    "autopilot_resource": "autopilot.service.lifecycle",
}

if not TYPE_CHECKING:  # a module-level __getattr__ would let a type checker accept any name

    def __getattr__(name: str) -> object:
        """Import one of the public names from the module that defines it."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
