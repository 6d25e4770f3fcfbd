"""A client that sends any bytes, and keeps every answer for the search."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.process.secrets.stage import Stage
from tests.process.secrets.telltale import MARK
from tests.unit.web.responses import Response, responses

_PARALLEL = 20


class Client:
    """Asks the router of one stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def send(self, cause: str, wire: bytes) -> Response:
        """Send all of it, and keep the one answer."""
        with self._stage.connect() as client:
            client.sendall(wire)
            return self.answer(cause, client)

    def send_all(self, wires: Sequence[tuple[str, bytes]]) -> list[Response]:
        """The same, many at a time."""
        with ThreadPoolExecutor(_PARALLEL) as pool:
            return list(pool.map(lambda each: self.send(*each), wires))

    def answer(self, cause: str, client: socket.socket) -> Response:
        """The next answer on a connection, or as much of it as comes."""
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
    """The response in these bytes, once it is whole."""
    if b"\r\n\r\n" not in got:
        return []
    try:
        found = responses(got)
    except (AssertionError, ValueError):  # the size of a chunk is cut in two
        return []
    return found if found[0].whole else []


def read_until(client: socket.socket, wanted: bytes) -> None:
    """Read until these bytes, in lower case, have come."""
    got = b""
    while wanted not in got.lower():
        data = client.recv(65536)
        assert data, got
        got += data


def relayed(answer: Response) -> bool:
    """Whether the platform gave this answer."""
    return answer.value(MARK) is not None
