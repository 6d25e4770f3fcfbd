"""The ``twistd`` plugin: options from the settings table, and the service that they describe.

``twistd`` installs the reactor before it calls ``makeService``. No module-level import here may
import a reactor, and Klein imports one; the service is therefore imported late.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, cast

from twisted.application.service import IService, IServiceCollection, MultiService
from twisted.internet.error import CannotListenError
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.logfile import LogFile
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from autopilot._version import __version__
from autopilot.observability.access_log import RecordLines
from autopilot.observability.logs import LineObserver, Sink
from autopilot.process.cores import usable_cores
from autopilot.process.malloc import keep_freed_memory, leave_startup_alone
from autopilot.process.rlimits import use_all_descriptors
from autopilot.process.systemd.notify import Notifier, watchdog_seconds
from autopilot.process.systemd.sockets import Sockets, SocketsError, passed_sockets
from autopilot.process.systemd.supervision import Supervision
from autopilot.service.log_output import log_outputs, own_log, unblocked
from autopilot.service.signals import SighupHandler, Sigusr2Handler
from autopilot.settings import (
    DECLARED,
    NO_PORT,
    Setting,
    Settings,
    SettingsError,
    UsualAddress,
    changed_settings,
    choose,
    effective_settings,
    load_settings,
    misspelled,
    settings_warnings,
    split_address,
)
from autopilot.settings.env_file import ENV_FILE, EnvFile
from autopilot.settings.share import number_of_workers
from autopilot.settings.sources import SettingsSources
from autopilot.settings.types import AUTO

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from autopilot.service.lifecycle import AutopilotService

__all__ = ["Options", "makeService"]

# Twisted's default, 1 MB per file and any number of files, would rotate every second under load,
# and each rotation renames all files.
_LOG_BYTES = 64 * 1024 * 1024
_LOG_FILES = 8


def _explanation(setting: Setting) -> str:
    """Return the text of a setting for ``--help``."""
    return f"{setting.help} ({setting.kind.expected}) [default: {setting.default or 'not set'}]"


class Options(UsageOptions):
    """The command line of ``twistd autopilot``; parsing it sets a valid, complete ``settings``."""

    synopsis = "[options]"
    longdesc = (
        "Routes OpenAI-compatible requests to Chutes.ai models, with failover. Each setting is also"
        " an environment variable: --listen-addr is LISTEN_ADDR. An option wins over the"
        " environment, the environment over the .env file, and that over the default."
    )
    # The defaults appear in the explanations only, so that an option that was not given differs
    # from one with the default as its value: the environment overrides only the former.
    optParameters = (
        *([setting.option, None, None, _explanation(setting)] for setting in DECLARED),
        ["env-file", None, None, f"Read this file instead of {ENV_FILE}; it must exist."],
    )
    optFlags = (
        ["check-config", None, "Print the effective settings, secrets hidden, and exit."],
        ["changed", None, "With --check-config: only the settings that differ from the defaults."],
    )

    environ: Mapping[str, str] = os.environ
    settings: Settings
    sources: SettingsSources
    passed = Sockets()
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def opt_version(self) -> None:
        """Print the version and exit."""
        print(f"chutes-autopilot {__version__}")  # noqa: T201
        raise SystemExit(0)

    def getSynopsis(self) -> str:
        """Return the first line of ``--help``, with both ways to start the router."""
        return (
            "Usage: autopilot run [options]\n   or: twistd [twistd's options] autopilot [options]"
        )

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse the command line, as Twisted's own options do.

        Of an invalid one, ``twistd`` would print the explanations of all options, with the error
        behind them. This prints the errors alone, one per line, on standard error.

        :raises SystemExit: with status 1 if an option or a setting is invalid.
        """
        try:
            super().parseOptions(options)
        except UsageError as error:
            for line in str(error).splitlines():
                print(f"autopilot: {line}", file=sys.stderr)  # noqa: T201
            raise SystemExit(1) from None

    def getUsage(self, width: int | None = None) -> str:
        """Return the text of ``--help``; it needs 100 columns for long option names and URLs."""
        return str(super().getUsage(width or max(100, get_terminal_size().columns)))

    def postOptions(self) -> None:
        """Read all sources and validate every setting.

        :raises UsageError: a setting is invalid; it has one line per problem.
        """
        if self["changed"] and not self["check-config"]:
            raise UsageError("--changed is for --check-config; give both")
        options = {setting.name: self[setting.option] for setting in DECLARED}
        path = self["env-file"] or ENV_FILE
        self.sources = SettingsSources(
            options,
            self.environ,
            EnvFile(
                os.path.abspath(path),
                name=path,
                required=bool(self["env-file"]),
                option="--env-file" if self["env-file"] else "",
            ),
        )
        try:
            env_file = self.sources.env_file.read()
            self.settings = load_settings(options, self.environ, env_file)
            self.warnings = tuple(f"{path}: {text}" for text in misspelled(env_file))
            self.passed = passed_sockets(self.environ, os.getpid())
        except SettingsError as error:
            raise UsageError("\n".join(error.problems)) from None
        except SocketsError as error:
            raise UsageError(str(error)) from None
        if self["check-config"]:
            chosen = choose(options, self.environ, env_file)
            shown = changed_settings if self["changed"] else effective_settings
            lines = [
                f"{each.name}={each.value}  # {each.origin}"
                for each in shown(self.settings, chosen)
            ]
            # One write, as a reader may want a few lines only.
            print("\n".join(lines or ["# Every setting has its default."]))  # noqa: T201
            for warning in (*self.warnings, *settings_warnings(self.settings)):
                print(f"Warning: {warning}", file=sys.stderr)  # noqa: T201
            raise SystemExit(0)


class _Root(MultiService):
    """The service that ``twistd`` runs; it also passes the log observer to the application.

    ``twistd`` builds its application itself and asks it for an ``ILogObserver`` before anything
    starts. This service sets the observer when it joins the application. An observer named with
    ``--logger`` takes precedence. ``pidfile`` is the file that ``twistd`` writes, or None for a
    daemon.
    """

    def __init__(
        self,
        observer: ILogObserver | None,
        sighup: SighupHandler,
        supervision: Supervision,
        router: AutopilotService | None = None,
        pidfile: str | None = None,
    ) -> None:
        super().__init__()
        self._observer = observer
        self.sighup = sighup
        self.sigusr2 = Sigusr2Handler(sighup.reactor, router)
        self._supervision = supervision
        self._router = router
        self._pidfile = pidfile

    def setServiceParent(self, parent: IServiceCollection) -> None:
        """Join `parent`; if it is an application, set its log observer."""
        if self._observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Listen, before ``twistd`` gives up root privileges.

        :raises SystemExit: with status 1, in the foreground, if an address cannot be used.
        :raises CannotListenError: as above, in a daemon: ``twistd`` passes it to its parent.
        """
        try:
            super().privilegedStartService()
        except CannotListenError as error:
            if self._pidfile is None:
                # twistd's parent process prints that the log tells more.
                Logger().error("Not started: {problem}", problem=_cannot_listen(error))
                raise
            # twistd would remove it after an exception that is no exit.
            with suppress(OSError):
                os.unlink(self._pidfile)
            # Not sys.stderr, which is the log by now.
            print(f"autopilot: {_cannot_listen(error)}", file=sys.__stderr__)
            raise SystemExit(1) from None

    def startService(self) -> None:
        """Install the signal handlers, start, and notify the service manager."""
        _ignore_log_rotation()
        self.sighup.install()
        self.sigusr2.install()
        super().startService()
        self._supervision.started(None if self._router is None else self._router._when_ready)
        leave_startup_alone()

    def stopService(self) -> Deferred[Any]:
        """Notify the service manager, drain and stop."""
        _ignore_more_signals(self._router)
        self._supervision.stopping()
        stopped: Deferred[Any] = super().stopService()
        return stopped.addBoth(self._stopped)

    def _stopped(self, result: Any) -> Any:
        self._supervision.stopped()
        return result


def _cannot_listen(error: CannotListenError) -> str:
    """Return in one line why the router cannot listen on an address, and what to do."""
    address = f"{error.interface or '0.0.0.0'}:{error.port}"
    number = getattr(error.socketError, "errno", None)
    if number == errno.EADDRINUSE:
        return (
            f"{address} is in use by another program; stop that one, or choose another address with"
            " --listen-addr or --admin-listen-addr"
        )
    if number == errno.EACCES:
        return f"{address} is not allowed for this user; choose a port of 1024 or above"
    if number == errno.EADDRNOTAVAIL:
        return f"{address} is not an address of this machine; 0.0.0.0 stands for all of its own"
    return f"{address} cannot be listened on: {os.strerror(number) if number else 'unknown error'}"


def _ignore_log_rotation() -> None:
    """Ignore SIGUSR1, by which operators ask servers to rotate logs; by default it kills a process.

    ``twistd`` itself handles SIGUSR1 only if it writes the log file.
    """
    if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def _ignore_more_signals(router: AutopilotService | None) -> None:
    """Ignore further stop signals while the router stops, but for a second SIGINT.

    The reactor would only log that it cannot stop twice. Before ``twistd`` ends the process with
    the signal it received, it restores that signal's default action, so the exit status stays the
    same. A second SIGINT ends the drain if a SIGINT began it (contract §11).
    """
    from twisted.internet import reactor

    for number in (signal.SIGINT, signal.SIGTERM):
        if getattr(signal.getsignal(number), "__self__", None) is reactor:
            signal.signal(number, signal.SIG_IGN)
    if router is not None and getattr(reactor, "_exitSignal", None) == signal.SIGINT:
        end_drain = router.end_drain
        schedule = cast("Any", reactor).callFromThread
        signal.signal(signal.SIGINT, lambda number, frame: schedule(end_drain))


def _log_sink(twistd: Mapping[str, Any]) -> Sink | None:
    """Return the log's destination by ``twistd``'s options; None to leave logging to ``twistd``."""
    path = twistd.get("logfile")
    if twistd.get("syslog") or "nodaemon" not in twistd:
        return None
    if twistd["nodaemon"] and path in (None, "", "-"):
        return sys.stdout
    if path == "-":
        return None  # twistd rejects this with its own message
    log_file: Sink = LogFile.fromFullPath(
        path or "twistd.log", rotateLength=_LOG_BYTES, maxRotatedFiles=_LOG_FILES
    )
    return log_file


def _log_outputs(
    sink: Sink | None, twistd: Mapping[str, Any], settings: Settings
) -> tuple[LineObserver | None, RecordLines | None]:
    """Return the observer that writes the log and the fast path that writes request records.

    Under another ``--logger``, records become log events instead.
    """
    if sink is None:
        return None, None
    observer, records = log_outputs(sink, settings)
    return observer, None if twistd.get("logger") else records


def _writer(sink: Sink | None) -> Callable[[str], object] | None:
    """Return what writes a line of a worker's output, or None if workers may write it themselves.

    They may if standard output is a file. If it is a pipe or a terminal whose reader has stopped,
    only a single writer can tell whether there is room: of two, the second would block.
    """
    if sink is sys.stdout:
        return None
    if sink is None:
        log = Logger(namespace="autopilot.worker")
        return lambda line: log.info("{line}", line=line)

    def write(line: str) -> None:
        with suppress(OSError):  # as on a full disk
            sink.write(f"{line}\n")
            sink.flush()

    return write


def makeService(options: Options) -> IService:
    """Return the router as ``twistd`` runs it, in a process that belongs to it.

    Process-wide changes that an embedding application must not inherit are made here: a monotonic
    reactor clock, a shared resolver, allocator thresholds and the descriptor limit.
    """
    from twisted.internet import reactor

    from autopilot.http.resolver import share_lookups
    from autopilot.http.tls_server import CertificateError
    from autopilot.service.lifecycle import AutopilotService, use_monotonic_clock

    # Before the reactor has any timer.
    use_monotonic_clock()
    share_lookups(reactor)
    keep_freed_memory()
    use_all_descriptors()
    settings = options.settings
    twistd = getattr(options, "parent", None) or {}
    if not twistd.get("nodaemon", True):
        _check_addresses(settings, options.passed)
    _announce_daemon(twistd)
    sink = unblocked(_log_sink(twistd), reactor)
    observer, records = _log_outputs(sink, twistd, settings)
    count = _workers(settings)
    try:
        if count > 1:
            router = _parent(options, count, reactor, records, _writer(sink))
        else:
            router = AutopilotService(settings, records=records, passed=options.passed)
    except CertificateError as error:
        # The settings have been checked with another OpenSSL, which may accept more.
        print(f"autopilot: TLS_CERT_FILE: {error}", file=sys.__stderr__)
        raise SystemExit(1) from None
    own_log(router, sink, observer, records)
    for warning in options.warnings:
        Logger().warn("{text}", text=warning)
    supervision = _supervision(reactor, options.environ, router)
    sighup = SighupHandler(reactor, options.sources, router)
    sighup.before_reload.append(supervision.notifier.reloading)
    sighup.after_reload.append(supervision.notifier.ready)
    pidfile = str(twistd.get("pidfile") or "") if twistd.get("nodaemon") else None
    root = _Root(observer, sighup, supervision, router, pidfile)
    router.setServiceParent(root)
    return root


def _workers(settings: Settings) -> int:
    """Return the number of workers, which need Linux: elsewhere `auto` stands for one process."""
    count = number_of_workers(settings, usable_cores())
    # Not compared as usual, because a type checker would take the rest for dead on Linux.
    if count == 1 or sys.platform.startswith(("linux",)):
        return count
    if settings.workers == AUTO:
        return 1
    print(
        f"autopilot: WORKERS: {count} processes need Linux; give 1 on this system",
        file=sys.__stderr__,
    )
    raise SystemExit(1)


def _parent(
    options: Options,
    count: int,
    reactor: Any,
    records: RecordLines | None,
    write: Callable[[str], object] | None,
) -> AutopilotService:
    """Return the router as the parent of workers, whose modules a single process does not need."""
    from autopilot.service.parent import ParentService

    return ParentService(
        options.settings,
        count,
        reactor=reactor,
        records=records,
        passed=options.passed,
        write=write,
    )


def _check_addresses(settings: Settings, passed: Sockets) -> None:
    """Exit with a line on the terminal if a daemon could not listen on an address that was chosen.

    Once it has left the terminal, it could say so in its log only.
    """
    admin = settings.admin_listen_addr
    wanted = [] if passed.api else [settings.listen_addr]
    if not (passed.admin or admin == NO_PORT or isinstance(admin, UsualAddress)):
        wanted.append(admin)
    for host, port in map(split_address, wanted):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                problem = _cannot_listen(CannotListenError(host, port, error))
                print(f"autopilot: {problem}", file=sys.__stderr__)
                raise SystemExit(1) from None


def _announce_daemon(twistd: Mapping[str, Any]) -> None:
    """Print where a daemon's log goes, before its process leaves the terminal."""
    if twistd.get("nodaemon", True):
        return
    log = "syslog" if twistd.get("syslog") else twistd.get("logfile") or "twistd.log"
    print(  # noqa: T201
        f"autopilot: starting in the background; the log goes to {log}, the process id to"
        f" {twistd.get('pidfile') or 'no file'}. `autopilot run` stays in the foreground.",
        file=sys.stderr,
    )


def _supervision(reactor: Any, environ: Mapping[str, str], router: AutopilotService) -> Supervision:
    """Return what notifies the service manager of this process, if it has one."""

    def drain_seconds() -> float:
        return (router.settings.drain_delay_ms + router.settings.drain_timeout_ms) / 1000

    notifier = Notifier(environ.get("NOTIFY_SOCKET", ""))
    return Supervision(reactor, notifier, watchdog_seconds(environ, os.getpid()), drain_seconds)
