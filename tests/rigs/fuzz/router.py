"""A router in memory for one input; only the connections at both ends are simulated.

It is built on a test case, but is not a test: a target builds it, drives it and tears it down, and
it must leave nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from autopilot.http.limits import Limits
from autopilot.request.parse import ParseConfig
from tests.corpus import strict
from tests.unit.relay.upstreams import Wire, whole
from tests.unit.web.browsers import SiteTestCase

LARGEST_BODY = 1000


class Router(SiteTestCase):
    """The router, with an upstream that responds to every complete request."""

    limits = Limits(body_bytes=LARGEST_BODY)

    def __init__(self) -> None:
        super().__init__("drive")
        self._parsed_bytes: dict[int, int] = {}
        self._responses: dict[int, int] = {}

    def drive(self) -> None:
        """Do nothing; the target drives the router."""

    def build(self, **settings: Any) -> None:
        """Extend `RouterTestCase.build`; a small limit on bodies keeps the inputs small."""
        super().build(**settings)
        config = self.config
        parsing = ParseConfig.of(config.parsing.rules, config.parsing.commit, LARGEST_BODY)
        self.proxy.configure(replace(config, parsing=parsing))

    @property
    def answers(self) -> int:
        """The number of requests that the upstream has answered."""
        return sum(self._responses.values())

    def upstream_answers(self) -> None:
        """Respond to the waiting upstream requests, and to those that arrive as a result."""
        while waiting := [wire for wire in self.upstreams.wires if self._waits(wire)]:
            for wire in waiting:
                self._responses[id(wire)] = self._responses.get(id(wire), 0) + 1
                wire.says(whole(200, b'{"answer":%d}' % self.answers))

    def _waits(self, wire: Wire) -> bool:
        """Return whether a request has no response yet; only new bytes are parsed."""
        size = len(wire.value())
        if size == self._parsed_bytes.get(id(wire)) or not wire.alive:
            return False
        if len(strict.requests(wire.value())[0]) > self._responses.get(id(wire), 0):
            return True
        self._parsed_bytes[id(wire)] = size
        return False


@contextmanager
def router() -> Iterator[Router]:
    """Yield a router; at the end, check that it is torn down and has logged no failure."""
    failures: list[str] = []

    @provider(ILogObserver)
    def note(event: LogEvent) -> None:
        if "log_failure" in event or event.get("isError"):
            failures.append(f"{formatEvent(event)}: {event.get('log_failure')}")

    made = Router()
    globalLogPublisher.addObserver(note)
    try:
        made.setUp()
        yield made
        made.tearDown()
    finally:
        globalLogPublisher.removeObserver(note)
    assert not failures, failures
