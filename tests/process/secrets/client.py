"""A client that sends arbitrary bytes, and keeps every response for the search."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.process.secrets.stage import Stage
from tests.process.secrets.telltale import MARK
from tests.unit.web.responses import Response, responses

_PARALLEL = 20


class Client:
    """A client of one stage's router."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def send(self, cause: str, wire: bytes) -> Response:
        """Send the bytes and keep the response."""
        with self._stage.connect() as client:
            client.sendall(wire)
            return self.answer(cause, client)

    def send_all(self, wires: Sequence[tuple[str, bytes]]) -> list[Response]:
        """Send each of these on a connection of its own, concurrently."""
        with ThreadPoolExecutor(_PARALLEL) as pool:
            return list(pool.map(lambda each: self.send(*each), wires))

    def answer(self, cause: str, client: socket.socket) -> Response:
        """Return the next response on a connection, possibly incomplete."""
        got = b""
        while not (found := _complete(got)):
            try:
                data = client.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                break
            got += data
        (answer,) = found or responses(got)
        self._stage.answers.append((cause, answer))
        return answer


def _complete(got: bytes) -> list[Response]:
    """Return the response in these bytes if it is complete."""
    if b"\r\n\r\n" not in got:
        return []
    try:
        found = responses(got)
    except (AssertionError, ValueError):  # a chunk size was truncated
        return []
    return found if found[0].whole else []


def read_until(client: socket.socket, wanted: bytes) -> None:
    """Read until these bytes arrive; the comparison is in lower case."""
    got = b""
    while wanted not in got.lower():
        data = client.recv(65536)
        assert data, got
        got += data


def relayed(answer: Response) -> bool:
    """Return whether the response is the platform's."""
    return answer.value(MARK) is not None
