"""Tests of SIGHUP within a process: from the signal to the sources, and its notifications."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from unittest.mock import patch

from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher

from autopilot.service.signals import SighupHandler, Sigusr2Handler
from autopilot.settings import SettingsError
from autopilot.settings.env_file import EnvFile
from autopilot.settings.sources import SettingsSources
from tests.unit.service.platforms import URL
from tests.unit.wiring.cases import ReloadTestCase

_SAME = {
    "ADMIN_LISTEN_ADDR": "-",
    "BACKEND_BASE_URL": f"{URL}:81",
    "MESSAGES_BASE_URL": f"{URL}:82",
    "RESPONSES_BASE_URL": f"{URL}:83",
    "MODELS_URL": f"{URL}/v1/models",
    "UTILIZATION_URL": f"{URL}/chutes/utilization",
    "API_BASE_URL": f"{URL}:84",
    "EVIDENCE_REFRESH_MS": "0",
    "MODELS_REFRESH_MS": "86400000",
    "UTILIZATION_REFRESH_MS": "86400000",
}


class SighupTests(ReloadTestCase):
    """A router with a settings file, and a reactor that runs the reload."""

    def setUp(self) -> None:
        """Run a router with a file of settings."""
        super().setUp()
        self.observer = EventLoggingObserver()
        globalLogPublisher.addObserver(self.observer)
        self.addCleanup(globalLogPublisher.removeObserver, self.observer)
        self.file = Path(self.mktemp())
        self.file.write_text("COMMIT=byte\n")
        self.start(commit="byte")
        env_file = EnvFile(str(self.file), name=".env", required=False)
        self.sources = SettingsSources({"MAX_ATTEMPTS": "7"}, _SAME, env_file)
        self.sighup = SighupHandler(self.reactor, self.sources, self.router)
        self.told: list[str] = []
        self.sighup.before_reload.append(lambda: self.told.append("began"))
        self.sighup.after_reload.append(lambda: self.told.append("ended"))
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        self.later: list[object] = []
        self.reactor.callFromThread = self.later.append  # type: ignore[attr-defined]

    def logged(self) -> list[str]:
        """Return the messages about settings and the signal."""
        events = [formatEvent(event) for event in self.observer]
        return [text for text in events if text.startswith(("Settings", "SIGHUP"))]

    def test_signal(self) -> None:
        """The handler schedules one reload, until the reactor has run it."""
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        self.sighup.install()
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(self.later, [self.sighup.reload])
        self.assertEqual(self.logged(), [])
        self.sighup.reload()
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(self.later, [self.sighup.reload] * 2)

    def test_whose_signal(self) -> None:
        """The handler replaces SIG_IGN, as set by nohup, but not another handler."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.sighup.install()
        self.assertEqual(signal.getsignal(signal.SIGHUP), self.sighup._on_signal)

        def theirs(number: int, frame: object) -> None:
            """Stand for the application's own handler."""

        signal.signal(signal.SIGHUP, theirs)
        self.sighup.install()
        self.assertIs(signal.getsignal(signal.SIGHUP), theirs)

    def test_reload(self) -> None:
        """The precedence is the same as at the start; only the file is read anew."""
        self.file.write_text("COMMIT=complete\nMAX_ATTEMPTS=3\n")
        self.sighup.reload()
        self.assertEqual(self.router.settings.commit, "complete")
        self.assertEqual(self.router.settings.max_attempts, 7)
        self.assertEqual(self.logged(), ["Settings changed: COMMIT, MAX_ATTEMPTS"])
        self.assertEqual(self.told, ["began", "ended"])

    def test_bad_values(self) -> None:
        """Each invalid value is one line, and no setting changes, not even a valid one."""
        before = self.router.settings
        self.file.write_text("COMMIT=complete\nMAX_LIST=1\nSSE_GUARD=maybe\nCOOLDOWN_MS=soon\n")
        self.sighup.reload()
        self.assertIs(self.router.settings, before)
        first, second = self.logged()
        self.assertTrue(first.startswith("Settings not changed: SSE_GUARD: 'maybe' is not known"))
        self.assertTrue(second.startswith("Settings not changed: COOLDOWN_MS: 'soon' is not"))
        self.assertEqual(self.told, ["began", "ended"])

    def test_routes_file(self) -> None:
        """The file of routes is read again; while it has faults, the former routes stay."""
        path = Path(self.mktemp())
        path.write_text('[routes.r]\nmodels = ["a"]\n')
        self.file.write_text(f"COMMIT=byte\nROUTES_FILE={path}\n")
        self.sighup.reload()
        self.assertEqual(self.logged(), ["Settings changed: ROUTES_FILE, MAX_ATTEMPTS"])
        before = self.router.settings
        path.write_text("[routes.r]\nmodels = []\ncommit = 5\n")
        self.sighup.reload()
        self.assertIs(self.router.settings, before)
        self.assertEqual(
            self.logged()[1:],
            [
                f"Settings not changed: ROUTES_FILE: {str(path)!r}: routes.r.{problem}"
                for problem in (
                    "models: [] is no list of names; give at least one",
                    "commit: 5 is not known; give byte, content or complete",
                )
            ],
        )
        path.write_text('[routes.s]\nmodels = ["a"]\n')
        self.sighup.reload()
        self.assertEqual(self.logged()[3:], ["Settings changed: ROUTES_FILE"])
        path.unlink()
        self.sighup.reload()
        (gone,) = self.logged()[4:]
        self.assertRegex(
            gone, "\\ASettings not changed: ROUTES_FILE: '.*' is not a file; give the path"
        )

    def test_unreadable_files(self) -> None:
        """A file that has gone, is not UTF-8, or is a pipe already read changes nothing."""
        self.sighup.reload()
        before = self.router.settings
        self.file.unlink()
        self.sighup.reload()
        self.file.write_bytes(b"COMMIT=\xff\xfe")
        self.sighup.reload()
        self.file.unlink()
        os.mkfifo(self.file)
        self.sighup.reload()
        self.assertIs(self.router.settings, before)
        self.assertEqual(
            self.logged()[1:],
            [
                "Settings not changed: '.env' does not exist",
                "Settings not changed: .env: not UTF-8 text",
                "Settings not changed: .env: a pipe can be read only once",
            ],
        )

    def test_file_that_appears(self) -> None:
        """Without a file one line says so; a file that did not exist at the start may be added."""
        self.file.unlink()
        self.sighup.reload()
        self.assertEqual(self.router.settings.commit, "content")
        without, changed = self.logged()
        self.assertRegex(without, r"\ASIGHUP found no settings to read: .* --env-file")
        self.assertTrue(changed.startswith("Settings changed: "))
        self.sighup.reload()
        self.assertEqual(self.logged()[2:], [without])
        self.file.write_text("COMMIT=complete\n")
        self.sighup.reload()
        self.assertEqual(self.router.settings.commit, "complete")
        self.assertEqual(self.logged()[3:], ["Settings changed: COMMIT"])

    def test_routes_alone(self) -> None:
        """Without a file of settings, that of routes is one to read."""
        path = Path(self.mktemp())
        path.write_text('[routes.r]\nmodels = ["a"]\n')
        self.file.unlink()
        env_file = EnvFile(str(self.file), name=".env", required=False)
        options = {"COMMIT": "byte", "ROUTES_FILE": str(path)}
        sighup = SighupHandler(self.reactor, SettingsSources(options, _SAME, env_file), self.router)
        for _ in range(2):
            sighup.reload()
        self.assertEqual(
            self.logged(),
            ["Settings changed: ROUTES_FILE", "Settings reloaded: nothing changed"],
        )

    def test_required_file(self) -> None:
        """A file named by the operator must exist."""
        named = EnvFile("/no/such", name="such", required=True)
        self.assertRaises(SettingsError, named.read)

    def test_draining(self) -> None:
        """A router that is stopping logs that, and does not read the file."""
        self.router.stopService()
        with patch.object(EnvFile, "read") as read:
            self.sighup.reload()
        self.assertEqual(read.call_count, 0)
        self.assertEqual(self.told, [])
        self.assertEqual(self.logged(), ["SIGHUP ignored: the router is stopping"])


class Sigusr2Tests(ReloadTestCase):
    """The signal that restarts workers."""

    def setUp(self) -> None:
        """Run a router without workers, and a reactor that calls at once."""
        super().setUp()
        self.observer = self.observed()
        self.start()
        self.addCleanup(signal.signal, signal.SIGUSR2, signal.getsignal(signal.SIGUSR2))
        self.reactor.callFromThread = lambda call: call()  # type: ignore[attr-defined]

    def test_single_process(self) -> None:
        """One process says that it has no workers, and goes on."""
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
        Sigusr2Handler(self.reactor, self.router).install()
        os.kill(os.getpid(), signal.SIGUSR2)
        texts = [formatEvent(event) for event in self.observer]
        self.assertEqual(
            [text for text in texts if "WORKERS" in text],
            ["Nothing is restarted: WORKERS is 1, so that there is only this process"],
        )

    def test_whose_signal(self) -> None:
        """SIG_IGN stays, and without a router nothing is installed."""
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        Sigusr2Handler(self.reactor, self.router).install()
        self.assertIs(signal.getsignal(signal.SIGUSR2), signal.SIG_IGN)
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
        Sigusr2Handler(self.reactor, None).install()
        self.assertIs(signal.getsignal(signal.SIGUSR2), signal.SIG_DFL)
