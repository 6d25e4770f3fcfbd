"""Tests of the demo's private mode; tests/process/test_first_minute.py plays it."""

from __future__ import annotations

import io
import socket
from contextlib import closing, redirect_stderr, redirect_stdout
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import NoReturn

from cryptography.x509 import load_pem_x509_certificates
from twisted.trial.unittest import SynchronousTestCase

from stub_backend.demo import private, tour
from stub_backend.demo.private import PrivateTour, Wire, check_requirements, write_roots
from stub_backend.demo.processes import HOST, DemoError
from stub_backend.demo.tap import Tap
from stub_backend.demo.voice import Voice
from stub_backend.prose import READING

_SENT = (
    b"GET /feed HTTP/1.1\r\n\r\nPOST /e2e/invoke HTTP/1.1\r\nX-A: 1\r\nX-B: 2\r\n\r\n\x01\x02 body"
)
_RECEIVED = (
    b"HTTP/1.1 200 OK\r\n\r\nfeedHTTP/1.1 200 OK\r\n\r\n5\r\ndata: one\r\n\r\n5\r\ndata: two\r\n"
)


class Recorded(Tap):
    """A tap through which these bytes have passed."""

    def __init__(self, sent: bytes, received: bytes) -> None:
        self.sent, self.received = (
            [bytearray(), bytearray(sent)],
            [bytearray(), bytearray(received)],
        )


class TapTests(SynchronousTestCase):
    """The listener."""

    def test_both_directions(self) -> None:
        """Bytes reach the other side, and are kept by direction until they are cleared."""
        with socket.create_server((HOST, 0)) as platform:
            with closing(Tap(platform.getsockname()[1])) as tap:
                with socket.create_connection((HOST, tap.port)) as client:
                    client.sendall(b"question")
                    served, _address = platform.accept()
                    with served:
                        self.assertEqual(served.recv(99), b"question")
                        served.sendall(b"answer")
                    self.assertEqual(client.recv(99), b"answer")
                    self.assertEqual(client.recv(99), b"")
                self.assertEqual((tap.sent, tap.received), ([b"question"], [b"answer"]))
                tap.clear()
                self.assertEqual((tap.sent, tap.received), ([b""], [b""]))
            with self.assertRaises(OSError):
                socket.create_connection((HOST, tap.port))


class WireTests(SynchronousTestCase):
    """The bytes of a call, and the search in them."""

    def test_parts(self) -> None:
        """The last call is found behind others of its connection."""
        wire = Wire.of(Recorded(_SENT, _RECEIVED))
        self.assertEqual((wire.fields, wire.body), (["X-A", "X-B"], b"\x01\x02 body"))
        self.assertEqual(wire.events, [b"data: one", b"data: two"])
        self.assertNotIn(b"feed", wire.sent + wire.received)
        self.assertRaises(DemoError, Wire.of, Recorded(b"GET / HTTP/1.1\r\n\r\n", b""))

    def test_search(self) -> None:
        """Eight characters in a row are found in either direction, wherever they are."""
        wire = Wire(b"xx herons in reeds", b"two otters")
        for text in ("grey herons swim", "no otters", "two otte"):
            self.assertTrue(wire.holds(text), text)
        for text in ("heroms in", "two ofters", "two ott3rs"):
            self.assertFalse(wire.holds(text), text)

    def test_readable(self) -> None:
        """A question that can be read on the wire fails the demo."""
        for text in ("", READING):
            tap = Recorded(_SENT + text.encode(), _RECEIVED)
            tour = PrivateTour(Voice(), 0, 0, tap)
            tour._said = "A secret answer"
            with redirect_stdout(io.StringIO()) as output:
                if text:
                    self.assertRaises(DemoError, tour._wiretapped)
                else:
                    tour._wiretapped()
            self.assertEqual("not found" in output.getvalue(), not text)


class RequirementTests(SynchronousTestCase):
    """What private mode needs."""

    def test_there(self) -> None:
        """The versions are named, and the roots are two certificates."""
        self.assertRegex(check_requirements(), r"\Acryptography \d\S+, dcap-qvl \d\S+\Z")
        folder = Path(self.mktemp())
        folder.mkdir()
        read = load_pem_x509_certificates(write_roots(folder).read_bytes())
        self.assertEqual(len(read), 2)

    def test_missing(self) -> None:
        """Without the kit or the extra, one line says what to do."""
        error = self.assertRaises(DemoError, check_requirements, Path("nowhere"))
        self.assertIn("--private needs a checkout", str(error))

        def absent(name: str) -> NoReturn:
            raise PackageNotFoundError(name)

        self.patch(private, "version", absent)
        error = self.assertRaises(DemoError, check_requirements)
        self.assertIn("make demo ARGS=--private", str(error))
        self.assertNotIn("\n", str(error))

    def test_not_played(self) -> None:
        """Without them nothing is started, and the line is the command's."""

        def missing() -> NoReturn:
            raise DemoError("a reason")

        self.patch(private, "check_requirements", missing)
        self.patch(tour, "stub", None)
        self.patch(tour, "router", None)
        said = io.StringIO()
        with redirect_stdout(io.StringIO()), redirect_stderr(said):
            status = tour.play(stay=False, port=0, in_private=True)
        self.assertEqual((status, said.getvalue()), (1, "autopilot: the demo failed: a reason\n"))

    def test_what_next(self) -> None:
        """The request to try has a key, for which the stand-in lists instances."""
        for staying, expected in ((True, "Bearer cpk_"), (False, "demo --private --stay")):
            shown = tour.what_next(7, 8, staying=staying, by_make=False, options="--private ")
            self.assertIn(expected, shown)
