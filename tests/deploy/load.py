"""Clients that send requests without a pause, and record every response that is not complete."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Event, Thread
from time import monotonic

from tests.process.processes import PATIENCE
from tests.unit.web.responses import responses

_AT_ONCE = 0.5
"""Seconds within which a client must send its request on an open connection."""


class Load:
    """Clients in threads, each with its request; some open a connection for each request.

    ``good`` counts complete responses; ``bad`` lists failures. A kept connection may end only after
    a response that announced it.
    """

    def __init__(self, port: int, *, fresh: list[bytes], keeping: list[bytes]) -> None:
        self._port = port
        self._enough = Event()
        self.good = 0
        self.bad: list[str] = []
        self._threads = [
            Thread(target=self._clients, args=(asked, keeps), daemon=True)
            for keeps, requests in ((False, fresh), (True, keeping))
            for asked in requests
        ]
        for each in self._threads:
            each.start()

    def stop(self) -> None:
        """Let each client finish, and wait for all."""
        self._enough.set()
        for each in self._threads:
            each.join(PATIENCE)

    def _clients(self, asked: bytes, keeps: bool) -> None:
        while not self._enough.is_set():
            try:
                self._client(asked, keeps)
            except OSError as refused:
                self.bad.append(repr(refused))

    def _client(self, asked: bytes, keeps: bool) -> None:
        """Make all requests of one client."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE) as client:
            goes_on = True
            while goes_on and not self._enough.is_set():
                idle = monotonic()
                wrong, goes_on = "", keeps
                try:
                    client.sendall(asked)
                    sent = monotonic()
                    answer, wrong = _answer(client)
                    goes_on = goes_on and answer
                except OSError as broken:
                    sent, wrong, goes_on = monotonic(), repr(broken), False
                if not wrong:
                    self.good += 1
                elif sent - idle < _AT_ONCE:  # otherwise the machine delayed the request
                    self.bad.append(wrong)
                    return


def _answer(client: socket.socket) -> tuple[bool, str]:
    """Read one response; return whether the connection continues, and the error."""
    got = b""
    while data := client.recv(65536):
        got += data
        with suppress(AssertionError):  # half a head shows nothing
            (answer,) = responses(got)
            if answer.whole:
                wrong = "" if answer.status == 200 else repr(got[:200])
                return answer.value(b"connection") != b"close", wrong
    return False, repr(got[:200])
