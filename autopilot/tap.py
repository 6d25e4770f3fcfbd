"""The ``twistd`` face: options from the settings table, and the service they describe.

``twistd`` chooses the reactor before it calls ``makeService``; nothing imported at the top of this
module may import a reactor, and Klein imports one. That is why the service is imported late.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService, IServiceCollection, MultiService
from twisted.logger import ILogObserver
from twisted.python.components import Componentized
from twisted.python.logfile import LogFile
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from autopilot._version import __version__
from autopilot.observability.access_log import RecordLines, records_to_lines
from autopilot.observability.logs import LineObserver, Sink, line_observer
from autopilot.process.malloc import keep_freed_memory
from autopilot.process.rlimits import use_all_descriptors
from autopilot.process.systemd.notify import Notifier, watchdog_seconds
from autopilot.process.systemd.sockets import Sockets, SocketsError, passed_sockets
from autopilot.process.systemd.supervision import Supervision
from autopilot.service.signals import Hangups
from autopilot.settings import (
    DECLARED,
    Chosen,
    Setting,
    Settings,
    SettingsError,
    choose,
    load_settings,
)
from autopilot.settings.sources import EnvFile, SettingsSources

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from autopilot.service.lifecycle import AutopilotService

__all__ = ["Options", "makeService"]

_ENV_FILE = ".env"
# Twisted's megabyte without a bound on files would be full, and all files renamed, every second.
_LOG_BYTES = 64 * 1024 * 1024
_LOG_FILES = 8


def _explanation(setting: Setting) -> str:
    """What ``--help`` says of a setting."""
    return f"{setting.help} ({setting.kind.expected}) [default: {setting.default or 'not set'}]"


class Options(UsageOptions):
    """The command line of ``twistd autopilot``; once parsed, ``settings`` is valid and complete."""

    synopsis = "[options]"
    longdesc = (
        "Routes OpenAI-compatible requests to Chutes.ai models, with failover. Each setting is also"
        " an environment variable: --listen-addr is LISTEN_ADDR. An option wins over the"
        " environment, the environment over the .env file, and that over the default."
    )
    # The defaults stand in the explanations only: an option that was not given has to be told
    # from one that was given the default's value.
    optParameters = (
        *([setting.option, None, None, _explanation(setting)] for setting in DECLARED),
        ["env-file", None, None, f"Read this file instead of {_ENV_FILE}; it has to exist."],
    )
    optFlags = (["check-config", None, "Print the effective settings, secrets hidden, and exit."],)

    environ: Mapping[str, str] = os.environ
    settings: Settings
    sources: SettingsSources
    passed = Sockets()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def opt_version(self) -> None:
        """Print the version and exit."""
        print(f"chutes-autopilot {__version__}")  # noqa: T201
        raise SystemExit(0)

    def getUsage(self, width: int | None = None) -> str:
        """The text of ``--help``; at 80 columns long option names would leave URLs no room."""
        return str(super().getUsage(width or max(100, get_terminal_size().columns)))

    def postOptions(self) -> None:
        """Read all sources and validate every setting.

        Raises ``UsageError``, for which ``twistd`` exits with status 1, with one line per problem.
        """
        options = {setting.name: self[setting.option] for setting in DECLARED}
        path = self["env-file"] or _ENV_FILE
        self.sources = SettingsSources(
            options,
            self.environ,
            EnvFile(os.path.abspath(path), name=path, required=bool(self["env-file"])),
        )
        try:
            env_file = self.sources.env_file.read()
            self.settings = load_settings(options, self.environ, env_file)
            self.passed = passed_sockets(self.environ, os.getpid())
        except SettingsError as wrong:
            raise UsageError("\n".join(("bad configuration", *wrong.problems))) from None
        except SocketsError as wrong:
            raise UsageError(f"bad configuration\n{wrong}") from None
        if self["check-config"]:
            chosen = choose(options, self.environ, env_file)
            print(*_effective(self.settings, chosen), sep="\n")  # noqa: T201
            raise SystemExit(0)


def _effective(settings: Settings, chosen: Mapping[str, Chosen]) -> Iterator[str]:
    """One line per setting: its name, its value unless secret, and where it came from."""
    for setting in DECLARED:
        value = getattr(settings, setting.field)
        origin = chosen[setting.name].origin if setting.name in chosen else "default"
        shown = "********" if setting.secret and value else setting.kind.show(value)
        yield f"{setting.name}={shown}  # {origin}"


class _Root(MultiService):
    """What ``twistd`` runs: carries the choice of log format to the application it joins.

    ``twistd`` asks its application for an ``ILogObserver`` before anything starts, but builds that
    application itself; joining it is the moment at which the observer can be handed over. An
    observer named with ``--logger`` still wins.
    """

    def __init__(
        self, observer: ILogObserver | None, hangups: Hangups, supervision: Supervision
    ) -> None:
        super().__init__()
        self._observer = observer
        self.hangups = hangups
        self._supervision = supervision

    def setServiceParent(self, parent: IServiceCollection) -> None:
        """Join `parent`, and give it the log observer if it is an application."""
        if self._observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def startService(self) -> None:
        """Start, whatever becomes of the terminal."""
        _outlive_rotations()
        self.hangups.install()
        super().startService()
        self._supervision.started()

    def stopService(self) -> Deferred[Any]:
        """Stop, in its own time."""
        _ignore_more_signals()
        self._supervision.stopping()
        stopped: Deferred[Any] = super().stopService()
        return stopped.addBoth(self._stopped)

    def _stopped(self, result: Any) -> Any:
        self._supervision.stopped()
        return result


def _outlive_rotations() -> None:
    """Ignore the signal that asks other servers to rotate their logs, and unheard ends a process.

    ``twistd`` rotates on SIGUSR1, but only a log that it writes itself.
    """
    if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def _ignore_more_signals() -> None:
    """Make the reactor deaf to the signals that stop it, now that it is stopping.

    It would only log that it cannot stop twice. ``twistd`` restores the meaning of the signal it
    got before it ends the process with it, so the exit status stays that of the signal.
    """
    from twisted.internet import reactor

    for number in (signal.SIGINT, signal.SIGTERM):
        if getattr(signal.getsignal(number), "__self__", None) is reactor:
            signal.signal(number, signal.SIG_IGN)


def _log_sink(twistd: Mapping[str, Any]) -> Sink | None:
    """Where ``twistd``, given its own options, would log to; ``None`` if it should do it itself."""
    path = twistd.get("logfile")
    if twistd.get("syslog") or "nodaemon" not in twistd:
        return None
    if twistd["nodaemon"] and path in (None, "", "-"):
        return sys.stdout
    if path == "-":
        return None  # twistd refuses this in its own words
    log_file: Sink = LogFile.fromFullPath(
        path or "twistd.log", rotateLength=_LOG_BYTES, maxRotatedFiles=_LOG_FILES
    )
    return log_file


def _logging(
    twistd: Mapping[str, Any], settings: Settings
) -> tuple[LineObserver | None, RecordLines | None]:
    """Who writes the log, and what writes records past it: nothing under another ``--logger``."""
    sink = _log_sink(twistd)
    if sink is None:
        return None, None
    how = (sink, settings.log_format, settings.log_level)
    return line_observer(*how), None if twistd.get("logger") else records_to_lines(*how)


def makeService(options: Options) -> IService:
    """The router as ``twistd`` runs it, in a process that is its own.

    A step of the wall clock cannot move its timers, a name that nobody resolves keeps no other one
    waiting, memory once used is at hand for the next body, and there are as many connections as
    the system allows.
    """
    from twisted.internet import reactor

    from autopilot.http.resolver import share_lookups
    from autopilot.service.lifecycle import AutopilotService, use_monotonic_clock

    use_monotonic_clock()
    share_lookups(reactor)
    keep_freed_memory()
    use_all_descriptors()
    settings = options.settings
    observer, records = _logging(getattr(options, "parent", None) or {}, settings)
    router = AutopilotService(settings, records=records, passed=options.passed)
    router.followers += [_log_by(each) for each in (observer, records) if each is not None]
    supervision = _supervision(reactor, options.environ, router)
    hangups = Hangups(reactor, options.sources, router)
    hangups.began.append(supervision.notifier.reloading)
    hangups.ended.append(supervision.notifier.ready)
    root = _Root(observer, hangups, supervision)
    router.setServiceParent(root)
    return root


def _log_by(output: LineObserver | RecordLines) -> Callable[[Settings], None]:
    return lambda settings: output.configure(settings.log_format, settings.log_level)


def _supervision(reactor: Any, environ: Mapping[str, str], router: AutopilotService) -> Supervision:
    """What tells the service manager of this process, if it has one that listens."""

    def drain_seconds() -> float:
        return (router.settings.drain_delay_ms + router.settings.drain_timeout_ms) / 1000

    notifier = Notifier(environ.get("NOTIFY_SOCKET", ""))
    return Supervision(reactor, notifier, watchdog_seconds(environ, os.getpid()), drain_seconds)
