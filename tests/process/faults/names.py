"""A resolver for a router process, in which lookups of one name hang."""

from __future__ import annotations

from pathlib import Path

from tests.process.processes import ROOT

HANGS, WORKS = "hangs.test", "works.test"

_SITE = """
import os, socket, time

_real = socket.getaddrinfo
_folder = os.path.dirname(os.path.abspath(__file__))


def getaddrinfo(host, *args, **kwargs):
    name = host.decode() if isinstance(host, bytes) else host
    if name == "hangs.test":
        open(os.path.join(_folder, "asked"), "a").write("x")
        while not os.path.exists(os.path.join(_folder, "go-on")):
            time.sleep(0.02)
    return _real("127.0.0.1" if str(name).endswith(".test") else host, *args, **kwargs)


socket.getaddrinfo = getaddrinfo
"""


class HangingResolver:
    """Resolves ``WORKS`` at once and ``HANGS`` after `go_on`, both to this machine."""

    def __init__(self, folder: Path) -> None:
        """Write the module; the router must be started with `path` as its ``PYTHONPATH``."""
        folder.mkdir()
        self._folder = folder.absolute()
        # Python imports a module of this name when it starts.
        (self._folder / "sitecustomize.py").write_text(_SITE)

    @property
    def path(self) -> str:
        """The folder that must be on Python's path."""
        return f"{self._folder}:{ROOT}"

    @property
    def hanging(self) -> int:
        """The number of lookups of ``HANGS``."""
        asked = self._folder / "asked"
        return len(asked.read_text()) if asked.exists() else 0

    def go_on(self) -> None:
        """Answer the lookups that hang."""
        (self._folder / "go-on").touch()
