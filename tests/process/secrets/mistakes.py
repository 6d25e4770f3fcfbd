"""A router with bugs, each of which holds a request in its hands when it goes off.

Run as ``python -m tests.process.secrets.mistakes`` with the arguments of ``twistd``. A request with
the field ``x-mistake`` sets one off. All of them put the whole request into the text of the
exception and into local variables, as real bugs do with a piece of it.
"""

from __future__ import annotations

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
from autopilot.relay.proxy import Proxy

FIELD = b"x-mistake"
NAMES = ("text", "key", "chained", "noted", "nested", "read", "head", "stream", "event", "late")
NAMES_OF_PAGES = ("page",)

_log = Logger(namespace="mistaken")
_for_the_page: list[str] = []


class MistakeError(Exception):
    """A bug."""


def _all_of(inbound: ClientRequest) -> str:
    """Everything that should not come out."""
    return f"{[*inbound.headers.fields]} {inbound.query!r} {inbound.body!r} {inbound.peer}"


def _fail(told: str) -> NoReturn:
    held = {"in a local variable": told}
    raise MistakeError(f"cannot handle {held}")


def _go_wrong(name: str, inbound: ClientRequest) -> None:
    """Set off what goes off while a request is taken in."""
    told = _all_of(inbound)
    match name:
        case "text":
            _fail(told)
        case "key":
            raise KeyError(told)
        case "chained":
            try:
                _fail(told)
            except MistakeError as cause:
                raise MistakeError(f"{told} again") from cause
        case "noted":
            noted = MistakeError("see the note")
            noted.add_note(told)
            raise noted
        case "nested":
            raise ExceptionGroup(told, [MistakeError(told), KeyError(told)])
        case "event":
            _log.error("a request as a field: {inbound} {inbound!r}", inbound=inbound)
            _log.failure("with it: {inbound}", Failure(MistakeError(told)), inbound=inbound)
        case "late":
            forgotten: Deferred[None] = Deferred()
            forgotten.errback(MistakeError(told))
            _call_later(told)
        case "page":
            _for_the_page.append(told)


def _call_later(told: str) -> None:
    from twisted.internet import reactor

    cast_reactor: Any = reactor
    cast_reactor.callLater(0, _fail, told)


def _plant_in_intake() -> None:
    """Bugs while a request is read and taken in."""
    admit = Proxy._plan

    def mistaken_admit(self: Proxy, inbound: ClientRequest, *given: Any) -> Any:
        _go_wrong(text(inbound.headers.named, FIELD), inbound)
        return admit(self, inbound, *given)

    def mistaken_headers(fields: Any) -> Any:
        headers = read_request_headers(fields)
        if headers.named.get(FIELD) == [b"read"]:
            _fail(f"{fields}")
        return headers

    _replace(Proxy, "_plan", mistaken_admit)
    _replace(request_parser, "read_request_headers", mistaken_headers)


def _plant_in_answers() -> None:
    """Bugs when an answer begins, and within it."""
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


def _plant_in_pages() -> None:
    """A bug behind a page, which has got hold of a request somehow."""
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
    _plant_in_pages()
    sys.argv[0] = "twistd"
    run()
