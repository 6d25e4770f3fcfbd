"""SIGHUP: read the settings again, and go by those that can change while the router runs."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from autopilot.settings import SettingsError

if TYPE_CHECKING:
    from autopilot.service.lifecycle import AutopilotService
    from autopilot.settings.sources import SettingsSources


class Hangups:
    """What becomes of SIGHUP in a process of the router's own.

    ``began`` and ``ended`` are called around each reload, whatever comes of it, for whoever has to
    be told (a supervisor that waits for it).
    """

    _log = Logger()

    def __init__(self, reactor: Any, sources: SettingsSources, service: AutopilotService) -> None:
        self._reactor = reactor
        self._sources = sources
        self._service = service
        self._waiting = False
        self.began: list[Callable[[], None]] = []
        self.ended: list[Callable[[], None]] = []

    def install(self) -> None:
        """Take the signal, also where ``nohup`` had it ignored, unless somebody else has it."""
        if signal.getsignal(signal.SIGHUP) in (signal.SIG_DFL, signal.SIG_IGN):
            signal.signal(signal.SIGHUP, self._heard)

    def _heard(self, number: int, frame: object) -> None:
        # In the middle of anything: only the reactor says when there is time for more.
        if not self._waiting:
            self._waiting = True
            self._reactor.callFromThread(self.reload)

    def reload(self) -> None:
        """Read the settings again; if any is bad, say so and change nothing."""
        self._waiting = False
        if self._service.stopping:
            self._log.info("SIGHUP ignored: the router is stopping")
            return
        for tell in self.began:
            tell()
        try:
            self._service.reload(self._sources.load())
        except SettingsError as wrong:
            for problem in wrong.problems:
                self._log.error("Settings not changed: {problem}", problem=problem)
        finally:
            for tell in self.ended:
                tell()
