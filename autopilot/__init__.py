"""Streaming, OpenAI-compatible router for Chutes.ai models: the names for embedding applications.

The names are imported on first use. ``import autopilot``, which the ``twistd`` plugin and every
submodule trigger, therefore neither installs a reactor nor imports Klein, which would install one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from autopilot._version import __version__

if TYPE_CHECKING:
    from autopilot.service.lifecycle import AutopilotService, autopilot_resource
    from autopilot.settings import Settings

__all__ = ["AutopilotService", "Settings", "__version__", "autopilot_resource"]

_MODULES = {
    "AutopilotService": "autopilot.service.lifecycle",
    "Settings": "autopilot.settings",
    "autopilot_resource": "autopilot.service.lifecycle",
}

if not TYPE_CHECKING:  # a module-level __getattr__ would let a type checker accept any name

    def __getattr__(name: str) -> object:
        """Import a public name from the module that defines it."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(_MODULES[name]), name)
        globals()[name] = value
        return value
