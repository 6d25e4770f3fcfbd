"""A router for one input: in memory, and all of it real but the two ends.

It is no test here: it is built, driven and taken down, and must leave nothing behind.
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
    """The router, and an upstream that answers whatever is complete."""

    limits = Limits(body_bytes=LARGEST_BODY)

    def __init__(self) -> None:
        super().__init__("drive")
        self._heard: dict[int, int] = {}
        self._told: dict[int, int] = {}

    def drive(self) -> None:
        """Nothing: the target drives it."""

    def build(self, **settings: Any) -> None:
        """See `RouterTestCase`; the limit on bodies is small, so that inputs can be."""
        super().build(**settings)
        config = self.config
        parsing = ParseConfig.of(config.parsing.rules, config.parsing.commit, LARGEST_BODY)
        self.proxy.configure(replace(config, parsing=parsing))

    @property
    def answers(self) -> int:
        """How many requests the upstream has answered."""
        return sum(self._told.values())

    def upstream_answers(self) -> None:
        """Answer what has arrived upstream, and then what that lets through."""
        while waiting := [wire for wire in self.upstreams.wires if self._waits(wire)]:
            for wire in waiting:
                self._told[id(wire)] = self._told.get(id(wire), 0) + 1
                wire.says(whole(200, b'{"answer":%d}' % self.answers))

    def _waits(self, wire: Wire) -> bool:
        """Whether a request came that has no answer; only what is new is read."""
        size = len(wire.value())
        if size == self._heard.get(id(wire)) or not wire.alive:
            return False
        if len(strict.requests(wire.value())[0]) > self._told.get(id(wire), 0):
            return True
        self._heard[id(wire)] = size
        return False


@contextmanager
def router() -> Iterator[Router]:
    """One router; when done, nothing of it may be left, and no failure may have been logged."""
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
