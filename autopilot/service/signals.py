"""The handlers of SIGHUP, which reloads the settings, and of SIGUSR2, which restarts workers."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from autopilot.settings import SettingsError

if TYPE_CHECKING:
    from autopilot.service.lifecycle import AutopilotService
    from autopilot.settings.sources import SettingsSources


class SighupHandler:
    """Handles SIGHUP in a process that belongs to the router.

    ``before_reload`` and ``after_reload`` are called around each reload, even a failed one, for
    instance to notify the service manager.
    """

    _log = Logger()

    def __init__(self, reactor: Any, sources: SettingsSources, service: AutopilotService) -> None:
        self.reactor = reactor
        self._sources = sources
        self._service = service
        self._scheduled = False
        self.before_reload: list[Callable[[], None]] = []
        self.after_reload: list[Callable[[], None]] = []

    def install(self) -> None:
        """Install the SIGHUP handler, unless the process already has one.

        SIG_IGN, as set by ``nohup``, does not count as a handler.
        """
        if signal.getsignal(signal.SIGHUP) in (signal.SIG_DFL, signal.SIG_IGN):
            signal.signal(signal.SIGHUP, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        # Signal handlers interrupt any code, so the reload waits for the reactor's next turn.
        if not self._scheduled:
            self._scheduled = True
            self.reactor.callFromThread(self.reload)

    def reload(self) -> None:
        """Load and apply the settings; if any is invalid, log each problem and change nothing."""
        self._scheduled = False
        if self._service.stopping:
            self._log.info("SIGHUP ignored: the router is stopping")
            return
        for notify in self.before_reload:
            notify()
        try:
            settings = self._sources.load()
            absent = self._sources.env_file.absent and settings.routes_file is None
            if absent:
                self._log.warn(
                    "SIGHUP found no settings to read: there is no .env in the directory that the"
                    " router was started in; name a file with --env-file, because the environment"
                    " of a process does not change"
                )
            # Even then, because a certificate's files may have changed.
            self._service._reload(settings, expected=not absent)
        except SettingsError as error:
            for problem in error.problems:
                self._log.error("Settings not changed: {problem}", problem=problem)
        finally:
            for notify in self.after_reload:
                notify()


class Sigusr2Handler:
    """Handles SIGUSR2 in a process that belongs to the router."""

    def __init__(self, reactor: Any, service: AutopilotService | None) -> None:
        self._reactor = reactor
        self._service = service

    def install(self) -> None:
        """Install the handler, unless the process already has one; by default it would die."""
        if self._service is not None and signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL:
            signal.signal(signal.SIGUSR2, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        if self._service is not None:
            self._reactor.callFromThread(self._service._restart_workers)
