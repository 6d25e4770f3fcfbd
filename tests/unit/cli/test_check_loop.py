"""Tests of the check for base URLs that lead to the router itself."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from autopilot.cli.check_loop import loops
from autopilot.settings import load_settings
from tests.unit.cli.test_check import CheckTestCase


class LoopTests(SynchronousTestCase):
    """Pairs of addresses."""

    def names(self, listen: str, url: str, name: str = "BACKEND_BASE_URL") -> list[str]:
        """Return the settings that lead back."""
        settings = load_settings({}, {"LISTEN_ADDR": listen, name: url}, {})
        return [each.subject for each in loops(settings)]

    def test_loops(self) -> None:
        """Every address at which the socket is reached, by number or by name."""
        own = socket.gethostname().lower()
        for listen, url in (
            ("0.0.0.0:8080", "http://127.0.0.1:8080"),
            ("0.0.0.0:8080", "http://127.9.9.9:8080/v1"),
            ("0.0.0.0:8080", "http://LocalHost.:8080"),
            ("0.0.0.0:8080", "http://0.0.0.0:8080"),
            ("0.0.0.0:8080", f"http://{own}:8080"),
            ("0.0.0.0:80", "http://localhost"),
            ("0.0.0.0:443", "https://api.localhost"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("127.0.0.1:8080", "http://localhost:8080"),
            ("192.0.2.7:8080", "http://192.0.2.7:8080"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("[::1]:8080", "http://localhost:8080"),
        ):
            self.assertEqual(self.names(listen, url), ["BACKEND_BASE_URL"], (listen, url))

    def test_others(self) -> None:
        """Another port, another machine, or another address of this one is not a loop."""
        for listen, url in (
            ("0.0.0.0:8080", "http://127.0.0.1:8081"),
            ("0.0.0.0:8080", "http://192.0.2.7:8080"),
            ("0.0.0.0:8080", "http://llm.test:8080"),
            ("127.0.0.1:8080", "http://127.0.0.2:8080"),
            ("192.0.2.7:8080", "http://localhost:8080"),
            ("0.0.0.0:0", "http://127.0.0.1:8080"),
        ):
            self.assertEqual(self.names(listen, url), [], (listen, url))

    def test_each(self) -> None:
        """Each base URL is looked at."""
        for name in ("MESSAGES_BASE_URL", "RESPONSES_BASE_URL"):
            self.assertEqual(self.names("0.0.0.0:80", "http://localhost", name), [name])


class CommandTests(CheckTestCase):
    """`autopilot check`."""

    def test_line(self) -> None:
        """One line says what is wrong and what to do, and the command fails."""
        self.environ["BACKEND_BASE_URL"] = "http://localhost:8080"
        status, found = self.checked("--only", "config")
        self.assertEqual(status, 1)
        self.assertEqual(found[1][:3], ["fail", "config", "BACKEND_BASE_URL"])
        self.assertIn("; set it to the server behind the router", found[1][3])
        self.assertEqual(len(found), 2)
