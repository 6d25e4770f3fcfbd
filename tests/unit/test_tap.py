"""Tests of the ``twistd`` plugin: options, ``--check-config``, errors and the log observer."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import Mock, call

from twisted.application.service import Application, IServiceMaker
from twisted.internet.error import CannotListenError
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.plugin import getPlugins
from twisted.python.logfile import LogFile
from twisted.trial.unittest import SynchronousTestCase

from autopilot import tap
from autopilot.observability.logs import line_observer
from autopilot.process.log_pipe import LogPipe
from autopilot.settings import DECLARED, Settings, load_settings
from tests.unit.observability.records import record

ROOT = Path(__file__).resolve().parents[2]


def twistd(cwd: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``twistd`` with only these settings in the environment, and without a ``.env``."""
    ours = {setting.name for setting in DECLARED}
    environ = {name: text for name, text in os.environ.items() if name not in ours}
    environ.update(variables, PYTHONPATH=str(ROOT))
    start = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"
    return subprocess.run(
        (sys.executable, "-c", start, *arguments),
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def working_directory(path: str) -> Iterator[None]:
    """Work in another directory inside the context."""
    before = os.getcwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


class OptionsTests(SynchronousTestCase):
    """Parsing in this process."""

    def options(self, *arguments: str, **variables: str) -> tap.Options:
        """Return options parsed in an empty directory with only these environment variables."""
        options = tap.Options()
        options.environ = variables
        with working_directory(self.folder):
            options.parseOptions(arguments)
        return options

    def setUp(self) -> None:
        """Make the empty directory."""
        self.folder = self.mktemp()
        os.makedirs(self.folder)

    def write(self, name: str, text: bytes) -> str:
        """Write a file in that directory."""
        path = Path(self.folder, name).absolute()
        path.write_bytes(text)
        return str(path)

    def refused(self, *arguments: str, **variables: str) -> list[str]:
        """Return the lines on standard error; the status is 1, and nothing else is printed."""
        printed, said = StringIO(), StringIO()
        with redirect_stdout(printed), redirect_stderr(said):
            left = self.assertRaises(SystemExit, self.options, *arguments, **variables)
        self.assertEqual((left.code, printed.getvalue()), (1, ""))
        lines = said.getvalue().splitlines()
        self.assertTrue(all(line.startswith("autopilot: ") for line in lines), lines)
        return [line.removeprefix("autopilot: ") for line in lines]

    def test_nothing_given(self) -> None:
        """Without options, variables and file the defaults take effect."""
        self.assertEqual(self.options().settings, Settings())

    def test_every_setting_is_an_option(self) -> None:
        """Each setting is an option that accepts its default, and ``--help`` explains it."""
        given = [f"--{each.option}={each.default}" for each in DECLARED]
        self.assertEqual(self.options(*given).settings, Settings())
        shown = str(tap.Options())
        words = " ".join(shown.split())
        for setting in DECLARED:
            self.assertIn(f"--{setting.option}=", shown)
            self.assertIn(f"[default: {setting.default or 'not set'}]", words)

    def test_precedence(self) -> None:
        """Option, environment, ``.env`` in the working directory, default."""
        self.write(
            ".env", b"COMMIT=byte\nLOG_LEVEL=debug\nLOG_FORMAT=json # why not\nFOREIGN=$HOME\n"
        )
        settings = self.options("--commit=complete", COMMIT="content", LOG_LEVEL="warn").settings
        self.assertEqual(
            (settings.commit, settings.log_level, settings.log_format), ("complete", "warn", "json")
        )

    def test_named_env_file(self) -> None:
        """``--env-file`` replaces ``.env``, and variables in it are not expanded."""
        self.write(".env", b"COMMIT=byte\n")
        path = self.write("other", b"export ALIASES='a/$HOME'\nMAX_ATTEMPTS=\n")
        settings = self.options(f"--env-file={path}", HOME="/root").settings
        self.assertEqual((settings.commit, settings.aliases), ("content", ("a/$HOME",)))

    def test_bad_env_files(self) -> None:
        """A named file that does not exist or is not text is an error."""
        self.assertEqual(
            self.refused("--env-file=/no/such")[-1], "--env-file: '/no/such' does not exist"
        )
        folder = os.path.abspath(self.folder)
        self.assertEqual(self.refused(f"--env-file={folder}"), [f"{folder}: Is a directory"])
        path = self.write("binary", b"ALIASES=\xff\xfe")
        self.assertIn("not UTF-8", self.refused(f"--env-file={path}")[-1])

    def test_refusal(self) -> None:
        """Each invalid setting has one line, whatever its source."""
        self.write(".env", b"COMMIT=half\n")
        lines = self.refused("--max-attempts=none", LISTEN_ADDR="8080")
        names = [line.partition(":")[0] for line in lines]
        self.assertEqual(names, ["LISTEN_ADDR", "COMMIT", "MAX_ATTEMPTS"])

    def test_routes_file(self) -> None:
        """A file of routes is read with the settings; each of its faults is a line."""
        path = self.write("routes.toml", b'[routes.mine]\nmodels = ["a"]\n')
        settings = self.options(f"--routes-file={path}").settings
        self.assertEqual(getattr(settings.routes_file, "path", None), path)
        path = self.write("routes.toml", b"[routes.mine]\nmodels = []\n[routes.x]\n")
        for arguments in ((), ("--check-config",)):
            where = f"ROUTES_FILE: {path!r}: routes"
            self.assertEqual(
                self.refused(*arguments, ROUTES_FILE=path),
                [
                    f"{where}.mine.models: [] is no list of names; give at least one",
                    f"{where}.x.models: missing; give a list of names",
                ],
            )

    def test_words_are_refused(self) -> None:
        """An argument that is not an option is an error."""
        self.assertEqual(len(self.refused("serve")), 1)
        self.assertEqual(
            self.refused("--no-such-option"), ["option --no-such-option not recognized"]
        )

    def test_check_config(self) -> None:
        """``--check-config`` shows each value and its origin, hides secrets, and exits with 0."""
        printed = StringIO()
        with redirect_stdout(printed):
            left = self.assertRaises(
                SystemExit,
                self.options,
                "--check-config",
                "--commit=byte",
                STICKY_HASH_KEY="hunter2",
            )
        lines = printed.getvalue().splitlines()
        self.assertEqual(left.code, 0)
        self.assertEqual(len(lines), len(DECLARED))
        self.assertIn("COMMIT=byte  # option", lines)
        self.assertIn("STICKY_HASH_KEY=********  # environment", lines)
        self.assertIn("MAX_ATTEMPTS=8  # default", lines)
        self.assertIn("ADMIN_LISTEN_ADDR=127.0.0.1:8081  # default", lines)
        self.assertNotIn("hunter2", printed.getvalue())

    def test_check_config_changed(self) -> None:
        """``--changed`` leaves what differs from the defaults, which is a valid file too."""
        self.write(".env", b"COOLDOWN_MS=5\nMAX_ATTEMPTS=8\n")
        for given, expected in (
            ({}, ["COOLDOWN_MS=5  # .env"]),
            (
                {"STICKY_HASH_KEY": "hunter2", "COMMIT": "content", "COOLDOWN_MS": "7"},
                ["STICKY_HASH_KEY=********  # environment", "COOLDOWN_MS=7  # environment"],
            ),
            ({"COOLDOWN_MS": str(Settings().cooldown_ms)}, ["# Every setting has its default."]),
        ):
            printed = StringIO()
            with redirect_stdout(printed):
                left = self.assertRaises(
                    SystemExit, self.options, "--check-config", "--changed", **given
                )
            self.assertEqual(left.code, 0)
            self.assertEqual(sorted(printed.getvalue().splitlines()), sorted(expected))
        self.assertEqual(self.refused("--changed"), ["--changed is for --check-config; give both"])

    def test_check_config_warns(self) -> None:
        """``--check-config`` warns on standard error of settings that defeat the failover."""
        printed, said = StringIO(), StringIO()
        with redirect_stdout(printed), redirect_stderr(said):
            left = self.assertRaises(SystemExit, self.options, "--check-config", "--max-attempts=1")
        self.assertEqual(left.code, 0)
        self.assertEqual(len(printed.getvalue().splitlines()), len(DECLARED))
        (line,) = said.getvalue().splitlines()
        self.assertTrue(line.startswith("Warning: MAX_ATTEMPTS=1 leaves no room"), line)

    def test_misspelt_names(self) -> None:
        """A name in ``.env`` that resembles a setting is warned of; others are fine."""
        self.write(".env", b"LISTEN_ADR=x\nOPENAI_API_KEY=y\nCOMMIT=byte\n")
        expected = ".env: LISTEN_ADR is not a setting; did you mean LISTEN_ADDR?"
        self.assertEqual(self.options().warnings, (expected,))
        printed, said = StringIO(), StringIO()
        with redirect_stdout(printed), redirect_stderr(said):
            self.assertRaises(SystemExit, self.options, "--check-config")
        self.assertEqual(said.getvalue(), f"Warning: {expected}\n")

    def test_shown_config_can_be_read(self) -> None:
        """What ``--check-config`` prints is a valid ``.env`` file with the same meaning."""
        printed = StringIO()
        with redirect_stdout(printed):
            self.assertRaises(SystemExit, self.options, "--check-config", "--cooldown-ms=5")
        path = self.write("shown", printed.getvalue().encode())
        self.assertEqual(self.options(f"--env-file={path}").settings, Settings(cooldown_ms=5))

    def test_version(self) -> None:
        """``--version`` names this program, not Twisted."""
        printed = StringIO()
        with redirect_stdout(printed):
            self.assertRaises(SystemExit, self.options, "--version")
        self.assertRegex(printed.getvalue(), r"\Achutes-autopilot \d+\.\d+\.\d+\n\Z")


class LoggingTests(SynchronousTestCase):
    """The effect of LOG_FORMAT and LOG_LEVEL under ``twistd``."""

    def test_observer_is_handed_to_the_application(self) -> None:
        """The application that the service joins logs through the chosen observer."""
        observer = line_observer(StringIO(), "json", "info")
        application = Application("autopilot")
        tap._Root(observer, Mock(), Mock()).setServiceParent(application)
        self.assertIs(application.getComponent(ILogObserver), observer)

    def test_destinations(self) -> None:
        """Lines go where twistd would write, standard output or a file; syslog stays twistd's."""
        self.assertIs(tap._log_sink({"nodaemon": True, "logfile": None}), sys.stdout)
        self.assertIs(tap._log_sink({"nodaemon": True, "logfile": "-"}), sys.stdout)
        self.assertIsNone(tap._log_sink({"nodaemon": True, "logfile": "x", "syslog": True}))
        self.assertIsNone(tap._log_sink({"nodaemon": False, "logfile": "-"}))
        self.assertIsNone(tap._log_sink({}))
        path = Path(self.mktemp())
        sink = tap._log_sink({"nodaemon": False, "logfile": str(path)})
        assert isinstance(sink, LogFile)
        self.addCleanup(sink.close)
        line_observer(sink, "text", "info")({"log_format": "hello", "log_time": 0.0})
        self.assertIn("hello", path.read_text())

    def test_daemon(self) -> None:
        """A daemon says where its log goes, before it leaves; in the foreground nothing is said."""
        said = StringIO()
        with redirect_stderr(said):
            tap._announce_daemon({})
            tap._announce_daemon({"nodaemon": True})
            self.assertEqual(said.getvalue(), "")
            tap._announce_daemon({"nodaemon": False, "logfile": None, "pidfile": "twistd.pid"})
        self.assertIn("the log goes to twistd.log, the process id to twistd.pid.", said.getvalue())
        self.assertIn("`autopilot run` stays in the foreground", said.getvalue())

    def test_records(self) -> None:
        """Records bypass the log, unless the operator named another ``--logger``."""
        sink = StringIO()
        in_front = {"nodaemon": True, "logfile": None}
        observer, write = tap._log_outputs(sink, in_front, Settings(log_format="json"))
        assert observer is not None
        assert write is not None
        observer({"log_format": "first", "log_time": 0.0})
        write(record())
        first, second = (json.loads(line) for line in sink.getvalue().splitlines())
        self.assertEqual(first["message"], "first")
        self.assertEqual((second["message"], second["req_id"]), ("Request finished", "r1"))
        self.assertIsNone(tap._log_outputs(None, in_front, Settings())[1])
        self.assertIsNone(tap._log_outputs(sink, {**in_front, "logger": list}, Settings())[1])


class NumberOfWorkersTests(SynchronousTestCase):
    """The number of workers on this system and on others."""

    def setUp(self) -> None:
        """Have three cores."""
        self.patch(tap, "usable_cores", lambda: 3)

    def test_linux(self) -> None:
        """All cores, or as many as are set."""
        self.patch(sys, "platform", "linux")
        for text, count in (("auto", 3), ("2", 2), ("1", 1)):
            settings = load_settings({}, {"WORKERS": text}, {})
            self.assertEqual(tap._workers(settings), count)

    def test_elsewhere(self) -> None:
        """One process, unless more are set: then one line says what to do."""
        self.patch(sys, "platform", "darwin")
        for text in ("auto", "1"):
            self.assertEqual(tap._workers(load_settings({}, {"WORKERS": text}, {})), 1)
        heard = StringIO()
        self.patch(sys, "__stderr__", heard)
        ended = self.assertRaises(SystemExit, tap._workers, Settings(workers=2))
        self.assertEqual(ended.code, 1)
        self.assertEqual(
            heard.getvalue(), "autopilot: WORKERS: 2 processes need Linux; give 1 on this system\n"
        )


class WorkerOutputTests(SynchronousTestCase):
    """Where the lines of workers go."""

    def test_standard_output(self) -> None:
        """Workers write to a file themselves; at a pipe, a second writer may block."""
        self.assertIsNone(tap._writer(sys.stdout))
        self.assertIsNotNone(tap._writer(Mock(LogPipe)))

    def test_file(self) -> None:
        """A line is written and flushed; a full disk costs the line, and nothing else."""
        sink = Mock()
        write = tap._writer(sink)
        assert write is not None
        write("a line")
        self.assertEqual(sink.mock_calls, [call.write("a line\n"), call.flush()])
        sink.write.side_effect = OSError(28, "No space left on device")
        write("another")

    def test_twisted_log(self) -> None:
        """If twistd writes the log, a line is an event, and no part of it a format."""
        observer = EventLoggingObserver()
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        write = tap._writer(None)
        assert write is not None
        write("a {line}")
        self.assertEqual([formatEvent(event) for event in observer], ["a {line}"])


class AddressTests(SynchronousTestCase):
    """An address that the router cannot listen on."""

    def root(self, number: int, pidfile: str | None) -> tap._Root:
        """Return a service whose port fails with this error number."""
        root = tap._Root(None, Mock(), Mock(), pidfile=pidfile)
        error = CannotListenError("127.0.0.1", 80, OSError(number, "text of the system"))
        root.addService(Mock(privilegedStartService=Mock(side_effect=error)))
        return root

    def said(self, number: int, pidfile: str = "") -> str:
        """Return what is written to the real standard error; the status is 1."""
        said = StringIO()
        self.patch(sys, "__stderr__", said)
        root = self.root(number, pidfile)
        self.assertEqual(self.assertRaises(SystemExit, root.privilegedStartService).code, 1)
        return said.getvalue()

    def test_reasons(self) -> None:
        """One line gives the address, the reason, and a way out."""
        for number, words in (
            (errno.EADDRINUSE, "in use by another program; .* --listen-addr"),
            (errno.EACCES, "not allowed for this user; choose a port of 1024 or above"),
            (errno.EADDRNOTAVAIL, "not an address of this machine; 0.0.0.0 stands"),
            (errno.EMFILE, "cannot be listened on: Too many open files"),
        ):
            self.assertRegex(self.said(number), rf"\Aautopilot: 127.0.0.1:80 .*{words}.*\n\Z")

    def test_process_file(self) -> None:
        """The file that ``twistd`` wrote is removed."""
        path = Path(self.mktemp())
        path.write_text("1")
        self.said(errno.EADDRINUSE, str(path))
        self.assertFalse(path.exists())

    def test_daemon(self) -> None:
        """A daemon logs the way out, and ``twistd`` passes the error to the parent process."""
        observer = EventLoggingObserver()
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        root = self.root(errno.EADDRINUSE, None)
        self.assertRaises(CannotListenError, root.privilegedStartService)
        (line,) = map(formatEvent, observer)
        self.assertRegex(line, r"\ANot started: 127.0.0.1:80 is in use .* --listen-addr")


class CommandTests(SynchronousTestCase):
    """The command as a process."""

    def setUp(self) -> None:
        """Make an empty working directory."""
        self.folder = self.mktemp()
        os.makedirs(self.folder)

    def test_plugin(self) -> None:
        """The plugin is found, and ``twistd --help`` lists it."""
        self.assertIn("autopilot", [each.tapname for each in getPlugins(IServiceMaker)])
        self.assertRegex(twistd(self.folder, "--help").stdout, r"(?m)^ +autopilot +Streaming")

    def test_daemon_port_taken(self) -> None:
        """A daemon that cannot listen says so in one line before it leaves the terminal."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            address = f"127.0.0.1:{other.getsockname()[1]}"
            for name in ("LISTEN_ADDR", "ADMIN_LISTEN_ADDR"):
                free = {"LISTEN_ADDR": "127.0.0.1:0", "ADMIN_LISTEN_ADDR": "127.0.0.1:0"}
                done = twistd(self.folder, "autopilot", **{**free, name: address})
                self.assertEqual(done.returncode, 1, done.stderr)
                (line,) = done.stderr.splitlines()
                self.assertIn(f"autopilot: {address} is in use by another program; ", line)

    def test_bad_configuration(self) -> None:
        """Invalid values end the command with status 1 and one line each, before it listens."""
        done = twistd(
            self.folder, "--nodaemon", "autopilot", LISTEN_ADDR="x", COMMIT="y", LOG_LEVEL="z"
        )
        self.assertEqual(done.returncode, 1)
        names = [line.split(":")[1].strip() for line in done.stderr.splitlines()]
        self.assertEqual(names, ["LISTEN_ADDR", "COMMIT", "LOG_LEVEL"])
        self.assertEqual(done.stdout, "")

    def test_check_config(self) -> None:
        """``--check-config`` ends with status 0 and leaves no file behind."""
        done = twistd(self.folder, "--nodaemon", "autopilot", "--check-config", COMMIT="byte")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("COMMIT=byte  # environment", done.stdout)
        self.assertEqual(os.listdir(self.folder), [])

    def test_no_reactor_is_chosen_by_parsing(self) -> None:
        """Parsing the command line imports neither a reactor nor Klein."""
        program = (
            "import sys; from autopilot.tap import Options; Options().parseOptions([])\n"
            "assert not {'klein', 'twisted.internet.reactor'} & sys.modules.keys()"
        )
        done = subprocess.run(
            (sys.executable, "-c", program),
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, b""))
