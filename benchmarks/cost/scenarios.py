"""Units of work whose cost is measured, and the router settings for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from benchmarks.cost.backend import Backend
from benchmarks.cost.client import Client
from benchmarks.processes import HOST
from benchmarks.wire import chat_request

HEADERS: Final = {"Authorization": "Bearer bench"}
ALIAS: Final = "chutesai/AutoPilot"
LIST: Final = "bench/one,bench/two"
DIRECT: Final = "bench/one"

_CHAT: Final = "/v1/chat/completions"
_RECORDS_OFF: Final = {"LOG_SAMPLE": "0"}
_JSON_RECORDS: Final = {"LOG_SAMPLE": "1", "LOG_FORMAT": "json"}


@dataclass(frozen=True, slots=True)
class Setup:
    """One router process: its settings, and whether its upstream has TLS, or seals."""

    name: str
    tls: bool
    settings: Mapping[str, str] = field(hash=False)
    private: bool = False


PLAIN: Final = Setup("plain", False, _RECORDS_OFF)
TLS: Final = Setup("tls", True, _RECORDS_OFF)
JSON: Final = Setup("json", False, _JSON_RECORDS)
PRIVATE: Final = Setup("private", False, _RECORDS_OFF, private=True)


@dataclass(frozen=True, slots=True)
class Peers:
    """Client and upstream of the router."""

    client: Client
    backend: Backend


Perform = Callable[[Peers, int], None]
"""Runs a number of units one after another, and returns when the last has ended."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A unit of work. The targets of `cost.toml` apply by `kind`.

    With `less`, the cost is the difference from that scenario.
    """

    name: str
    kind: str
    setup: Setup
    perform: Perform
    less: Scenario | None = None


def scenarios() -> tuple[Scenario, ...]:
    """Return all scenarios."""
    through_upstream = (
        ("unary-alias", "unary", _unary(ALIAS)),
        ("unary-list", "unary", _unary(LIST)),
        ("unary-direct", "unary", _unary(DIRECT)),
        ("stream", "stream", _streams()),
        ("chunk", "chunk", _chunks()),
    )
    plain = [Scenario(name, kind, PLAIN, perform) for name, kind, perform in through_upstream]
    return (
        *plain,
        Scenario("models", "models", PLAIN, _get("/v1/models")),
        *(Scenario(f"{name}-tls", kind, TLS, perform) for name, kind, perform in through_upstream),
        *(
            Scenario(f"private-{name}", f"private-{kind}", PRIVATE, perform)
            for name, kind, perform in (
                ("unary", "unary", _unary(DIRECT)),
                ("stream", "stream", _streams(DIRECT)),
                ("chunk", "chunk", _chunks(DIRECT)),
            )
        ),
        Scenario("json-record", "record", JSON, _unary(ALIAS), less=plain[0]),
    )


def _get(path: str) -> Perform:
    lines = {"Host": HOST, "Accept": "application/json", **HEADERS}
    fields = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return _requests(f"GET {path} HTTP/1.1\r\n{fields}\r\n".encode())


def _unary(model: str) -> Perform:
    return _requests(chat_request(host=HOST, path=_CHAT, model=model, headers=HEADERS))


def _requests(request: bytes) -> Perform:
    def perform(peers: Peers, units: int) -> None:
        for _ in range(units):
            peers.client.send(request)
            peers.client.read_response()

    return perform


def _stream_request(model: str) -> bytes:
    # The numbers only request a stream: the backend sends events when the client asks.
    return chat_request(host=HOST, path=_CHAT, model=model, headers=HEADERS, seed=1, events=1)


def _streams(model: str = ALIAS) -> Perform:
    """Return a unit that is a stream: its first event comes with the head, its end separately."""
    request = _stream_request(model)

    def perform(peers: Peers, units: int) -> None:
        for _ in range(units):
            peers.client.send(request)
            peers.client.read_stream_start()
            peers.backend.end_stream()
            peers.client.read_stream_end()

    return perform


def _chunks(model: str = ALIAS) -> Perform:
    """Return a unit that is one more event of a stream."""
    request = _stream_request(model)

    def perform(peers: Peers, units: int) -> None:
        peers.client.send(request)
        peers.client.read_stream_start()
        for _ in range(units):
            peers.backend.send_event()
            peers.client.read_event()
        peers.backend.end_stream()
        peers.client.read_stream_end()

    return perform
