"""Tests of passed sockets, usable and unusable ones."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from autopilot.process.systemd.sockets import Sockets, SocketsError, family_of, passed_sockets

_PID = 4711


def listening(family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    """Return a listening socket on this machine."""
    opened = socket.socket(family)
    opened.bind(("::1" if family is socket.AF_INET6 else "127.0.0.1", 0))
    opened.listen()
    return opened


class PassedTests(SynchronousTestCase):
    """The variables of the protocol."""

    def setUp(self) -> None:
        """Place one listening socket at the number of the first passed descriptor."""
        self.socket = listening()
        self.addCleanup(self.socket.close)

    def passed(self, first: int | None = None, **environ: str) -> Sockets:
        """Return the sockets that these variables declare for this process."""
        number = self.socket.fileno() if first is None else first
        return passed_sockets({"LISTEN_PID": str(_PID), **environ}, _PID, number)

    def test_none(self) -> None:
        """No variables, or variables for another process."""
        self.assertEqual(passed_sockets({}, _PID), Sockets())
        self.assertEqual(self.passed(LISTEN_PID="4712", LISTEN_FDS="1"), Sockets())
        self.assertEqual(self.passed(LISTEN_FDS="0"), Sockets())

    def test_named(self) -> None:
        """The name admin, other names, and no names."""
        number = self.socket.fileno()
        self.assertEqual(self.passed(LISTEN_FDS="1"), Sockets(api=(number,)))
        for name, expected in (
            ("", Sockets(api=(number,))),
            ("chutes-autopilot.socket", Sockets(api=(number,))),
            ("admin", Sockets(admin=(number,))),
            ("admin:more", Sockets(admin=(number,))),
        ):
            self.assertEqual(self.passed(LISTEN_FDS="1", LISTEN_FDNAMES=name), expected)

    def test_not_a_number(self) -> None:
        """A malformed count is an error, not zero."""
        for count in ("", "many", "-1", "\u0661", "x" * 500):
            wrong = self.assertRaises(SocketsError, self.passed, LISTEN_FDS=count)
            self.assertIn("is not a number of sockets", str(wrong))
            self.assertLess(len(str(wrong)), 100)

    def test_unusable(self) -> None:
        """A closed, non-listening, non-TCP or non-socket descriptor is reported by its number."""
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        datagrams = socket.socket(type=socket.SOCK_DGRAM)
        ours, theirs = socket.socketpair()
        for each in (bound, datagrams, ours, theirs):
            self.addCleanup(each.close)
        with open("/dev/null") as file:
            for number in (bound.fileno(), datagrams.fileno(), ours.fileno(), file.fileno(), 9999):
                wrong = self.assertRaises(SocketsError, self.passed, number, LISTEN_FDS="1")
                self.assertIn(f"descriptor {number} is not a listening TCP socket", str(wrong))

    def test_stays_open(self) -> None:
        """The check neither closes nor changes a socket."""
        self.passed(LISTEN_FDS="1")
        self.assertEqual(family_of(self.socket.fileno()), socket.AF_INET)
        with socket.create_connection(self.socket.getsockname(), timeout=5):
            accepted, _ = self.socket.accept()
            accepted.close()

    def test_ipv6(self) -> None:
        """The family is the socket's own."""
        with listening(socket.AF_INET6) as opened:
            self.passed(opened.fileno(), LISTEN_FDS="1")
            self.assertEqual(family_of(opened.fileno()), socket.AF_INET6)
