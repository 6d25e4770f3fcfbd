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
from autopilot.http.fields import by_name, text
from autopilot.relay.course import Course
from autopilot.relay.downstream import Inbound
from autopilot.relay.proxy import Proxy

FIELD = b"x-mistake"
NAMES = ("text", "key", "chained", "noted", "nested", "read", "head", "stream", "event", "late")
NAMES_OF_PAGES = ("page",)

_log = Logger(namespace="mistaken")
_for_the_page: list[str] = []


class MistakeError(Exception):
    """A bug."""


def _all_of(inbound: Inbound) -> str:
    """Everything that should not come out."""
    return f"{[*inbound.fields]} {inbound.query!r} {inbound.body!r} {inbound.peer}"


def _fail(told: str) -> NoReturn:
    held = {"in a local variable": told}
    raise MistakeError(f"cannot handle {held}")


def _go_wrong(name: str, inbound: Inbound) -> None:
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
    admit = Proxy._admit

    def mistaken_admit(self: Proxy, inbound: Inbound, *given: Any) -> Any:
        _go_wrong(text(inbound.named, FIELD), inbound)
        return admit(self, inbound, *given)

    def mistaken_by_name(fields: Any) -> Any:
        named = by_name(fields)
        if named.get(FIELD) == [b"read"]:
            _fail(f"{fields}")
        return named

    _replace(Proxy, "_admit", mistaken_admit)
    _replace(request_parser, "by_name", mistaken_by_name)


def _plant_in_answers() -> None:
    """Bugs when an answer begins, and within it."""
    judge, commit = Course.judge_head, Course.commit

    def mistaken_judge(self: Course, head: Any) -> None:
        if (FIELD, b"head") in self.outgoing.fields:
            _fail(f"{self.outgoing.fields} {head.fields}")
        judge(self, head)

    def mistaken_commit(self: Course) -> None:
        commit(self)
        fields, stream = self.outgoing.fields, self.ending._stream
        if (FIELD, b"stream") in fields and stream is not None:
            _replace(stream, "body", lambda data: _fail(f"{fields} {data!r}"))

    _replace(Course, "judge_head", mistaken_judge)
    _replace(Course, "commit", mistaken_commit)


def _plant_in_pages() -> None:
    """A bug behind a page, which has got hold of a request somehow."""
    judge = readiness.readiness

    def mistaken_readiness(*given: Any) -> Any:
        if _for_the_page:
            _fail(_for_the_page.pop())
        return judge(*given)

    _replace(readiness, "readiness", mistaken_readiness)


def _replace(place: Any, name: str, bug: Callable[..., Any]) -> None:
    setattr(place, name, bug)


if __name__ == "__main__":
    _plant_in_intake()
    _plant_in_answers()
    _plant_in_pages()
    sys.argv[0] = "twistd"
    run()
