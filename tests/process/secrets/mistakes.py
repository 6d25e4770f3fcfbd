"""A router with bugs, each of which raises while it holds a request.

``python -m tests.process.secrets.mistakes`` takes the arguments of ``twistd``. The field
``x-mistake`` of a request triggers a bug. Each bug puts the whole request into the text of an
exception and into local variables, as real bugs do with parts of it.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.scripts.twistd import run

from autopilot.feeds import readiness
from autopilot.http import request_parser
from autopilot.http.headers import read_request_headers, text
from autopilot.relay.downstream import ClientRequest
from autopilot.relay.exchange import Exchange
from autopilot.relay.exchange_states import Input, State
from autopilot.relay.planner import Planner
from tests.process.secrets.stage import UNKNOWN

FIELD = b"x-mistake"
NAMES = ("text", "key", "chained", "noted", "nested", "read", "head", "stream", "event", "late")
NAMES_OF_PAGES = ("page",)

_log = Logger(namespace="mistaken")
_for_the_page: list[str] = []


class MistakeError(Exception):
    """The exception of a bug."""


def _all_of(inbound: ClientRequest) -> str:
    """Return everything that must not leak."""
    return f"{[*inbound.headers.fields]} {inbound.query!r} {inbound.body!r} {inbound.peer}"


def _fail(secret_text: str) -> NoReturn:
    held = {"in a local variable": secret_text}
    raise MistakeError(f"cannot handle {held}")


def _go_wrong(name: str, inbound: ClientRequest) -> None:
    """Trigger a bug while a request is parsed."""
    secret_text = _all_of(inbound)
    match name:
        case "text":
            _fail(secret_text)
        case "key":
            raise KeyError(secret_text)
        case "chained":
            try:
                _fail(secret_text)
            except MistakeError as cause:
                raise MistakeError(f"{secret_text} again") from cause
        case "noted":
            noted = MistakeError("see the note")
            noted.add_note(secret_text)
            raise noted
        case "nested":
            raise ExceptionGroup(secret_text, [MistakeError(secret_text), KeyError(secret_text)])
        case "event":
            _log.error("A request as a field: {inbound} {inbound!r}", inbound=inbound)
            _log.failure("With it: {inbound}", Failure(MistakeError(secret_text)), inbound=inbound)
        case "late":
            forgotten: Deferred[None] = Deferred()
            forgotten.errback(MistakeError(secret_text))
            _call_later(secret_text)
        case "page":
            _for_the_page.append(secret_text)


def _call_later(secret_text: str) -> None:
    from twisted.internet import reactor

    cast_reactor: Any = reactor
    cast_reactor.callLater(0, _fail, secret_text)


def _plant_in_intake() -> None:
    """Install the bugs in the parsing of requests."""
    plan = Planner.plan

    def mistaken_plan(self: Planner, inbound: ClientRequest, *given: Any) -> Any:
        _go_wrong(text(inbound.headers.named, FIELD), inbound)
        return plan(self, inbound, *given)

    def mistaken_headers(fields: Any) -> Any:
        headers = read_request_headers(fields)
        if headers.named.get(FIELD) == [b"read"]:
            _fail(f"{fields}")
        return headers

    _replace(Planner, "plan", mistaken_plan)
    _replace(request_parser, "read_request_headers", mistaken_headers)


def _plant_in_answers() -> None:
    """Install the bugs in the beginning and the body of a response."""
    steps = {state: dict(rows) for state, rows in Exchange._steps.items()}

    def mistaken(name: str, step: Callable[..., State]) -> Callable[..., State]:
        def go_wrong(self: Exchange, now: float, *details: Any) -> State:
            fields = self._request.headers.fields
            if (FIELD, name.encode()) in fields:
                _fail(f"{fields} {[getattr(each, 'fields', each) for each in details]}")
            return step(self, now, *details)

        return go_wrong

    for given in (Input.HEAD, Input.WHOLE):
        step, to = steps[State.ATTEMPTING][given]
        steps[State.ATTEMPTING][given] = (mistaken("head", step), to)
    _replace(Exchange, "_steps", steps)

    commit = Exchange._commit

    def mistaken_commit(self: Exchange, *given: Any) -> State:
        state, fields = commit(self, *given), self._request.headers.fields
        if (FIELD, b"stream") in fields and self._stream is not None:
            _replace(self._stream.guard, "feed", lambda data: _fail(f"{fields} {data!r}"))
        return state

    _replace(Exchange, "_commit", mistaken_commit)


def _plant_in_lookups() -> None:
    """Let lookups of certain names fail at once, without a name server, and say the name."""
    look_up = socket.getaddrinfo

    def mistaken_lookup(host: Any, *given: Any, **named: Any) -> Any:
        if str(host).endswith(UNKNOWN):
            raise socket.gaierror(socket.EAI_NONAME, f"no such name: {host}")
        return look_up(host, *given, **named)

    _replace(socket, "getaddrinfo", mistaken_lookup)


def _plant_in_pages() -> None:
    """Install a bug in a page, which has obtained a request."""
    judge = readiness.readiness

    def mistaken_readiness(*given: Any) -> Any:
        if _for_the_page:
            _fail(_for_the_page.pop())
        return judge(*given)

    _replace(readiness, "readiness", mistaken_readiness)


def _replace(place: Any, name: str, bug: object) -> None:
    setattr(place, name, bug)


if __name__ == "__main__":
    _plant_in_intake()
    _plant_in_answers()
    _plant_in_lookups()
    _plant_in_pages()
    sys.argv[0] = "twistd"
    run()
