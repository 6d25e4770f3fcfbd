"""The two feeds and their failure modes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice

from stub_backend.answers.pages import front_end_page
from stub_backend.feed_bodies import TIMESTAMP, catalog, utilization
from stub_backend.feed_drift import Drift, Records, drifted, halved, rebuilt, renamed, rotated
from stub_backend.options import StubOptions
from stub_backend.population import Population
from stub_backend.scenario import HTML, JSON, body_head
from stub_backend.steps import Hang, Send, Steps, Wait

SLOW_SECONDS = 5.0
SHRUNK_TO = 3
LEADERS = 6


_MAKERS: Mapping[str, Callable[[Population], bytes]] = {
    "models": catalog,
    "utilization": utilization,
}


class FeedMode(StrEnum):
    """A feed's response to a fetch."""

    OK = "ok"
    EMPTY = "empty"
    SHRUNK = "shrunk"
    RENAMED = "renamed"
    REBUILT = "rebuilt"
    HALVED = "halved"
    ROTATING = "rotating"
    SERVER_ERROR = "500"
    HTML = "html"
    HANG = "hang"
    GARBAGE = "garbage"
    SLOW = "slow"


class Feeds:
    """Both feeds of one population, and their current modes."""

    def __init__(self, population: Population, options: StubOptions) -> None:
        self._options = options
        self._population = population
        self._bodies: dict[str, bytes] = {}
        self.modes: dict[str, FeedMode] = dict.fromkeys(_MAKERS, FeedMode.OK)
        hosted = (each for each in population.chat if not each.external)
        self.leaders = tuple(each.name for each in islice(hosted, LEADERS))
        self._turn = 0

    def behave(self, **modes: str) -> None:
        """Set the modes of `models` and `utilization`, or raise ValueError and change neither."""
        unknown = modes.keys() - _MAKERS.keys()
        if unknown:
            raise ValueError(f"unknown feed: {', '.join(sorted(unknown))}")
        self.modes.update({feed: FeedMode(mode) for feed, mode in modes.items()})

    def answer(self, feed: str) -> Steps:
        """Return the response to one fetch of a feed."""
        mode, body = self.modes[feed], self._body(feed)
        if mode is FeedMode.ROTATING and feed == "utilization":
            body = drifted(feed, body, self._rotated)
        return _ANSWERS[mode](feed, body, self._options)

    def _rotated(self, records: Records, _name: str) -> Records:
        turn, self._turn = self._turn, self._turn + 1
        return rotated(records, self.leaders, turn)

    def _body(self, feed: str) -> bytes:
        """Return a feed's body, which is made for its first fetch: that takes a while."""
        if feed not in self._bodies:
            body = _MAKERS[feed](self._population)
            ago = self._options.measured_ago
            if ago is not None:
                measured = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=ago)
                stamp = measured.isoformat(timespec="microseconds")
                body = body.replace(TIMESTAMP.encode(), stamp.encode())
            self._bodies[feed] = body
        return self._bodies[feed]


def _ok(_feed: str, body: bytes, _options: StubOptions) -> Steps:
    yield body_head(200, JSON, len(body), ())
    yield Send(body)


def _empty(feed: str, _body: bytes, options: StubOptions) -> Steps:
    return _ok(feed, b'{"object":"list","data":[]}' if feed == "models" else b"[]", options)


def _shrunk(feed: str, body: bytes, options: StubOptions) -> Steps:
    value = json.loads(body)
    if feed == "models":
        value["data"] = value["data"][:SHRUNK_TO]
    else:
        value = value[: SHRUNK_TO * 10]
    return _ok(feed, json.dumps(value).encode(), options)


def _drifting(drift: Drift) -> Callable[[str, bytes, StubOptions], Steps]:
    def answer(feed: str, body: bytes, options: StubOptions) -> Steps:
        return _ok(feed, drifted(feed, body, drift), options)

    return answer


def _server_error(_feed: str, _body: bytes, _options: StubOptions) -> Steps:
    yield body_head(500, "text/plain", 21, ())
    yield Send(b"Internal Server Error")


def _html(_feed: str, _body: bytes, _options: StubOptions) -> Steps:
    page = front_end_page(502, "Server Error", "The server had a bad answer.")
    yield body_head(502, HTML, len(page), ())
    yield Send(page)


def _hang(_feed: str, _body: bytes, _options: StubOptions) -> Steps:
    yield Hang()


def _garbage(feed: str, body: bytes, options: StubOptions) -> Steps:
    return _ok(feed, body[: len(body) // 2], options)


def _slow(feed: str, body: bytes, options: StubOptions) -> Steps:
    yield Wait(SLOW_SECONDS * options.time_scale)
    yield from _ok(feed, body, options)


_ANSWERS: Mapping[FeedMode, Callable[[str, bytes, StubOptions], Steps]] = {
    FeedMode.OK: _ok,
    FeedMode.EMPTY: _empty,
    FeedMode.SHRUNK: _shrunk,
    FeedMode.RENAMED: _drifting(renamed),
    FeedMode.REBUILT: _drifting(rebuilt),
    FeedMode.HALVED: _drifting(halved),
    FeedMode.ROTATING: _ok,
    FeedMode.SERVER_ERROR: _server_error,
    FeedMode.HTML: _html,
    FeedMode.HANG: _hang,
    FeedMode.GARBAGE: _garbage,
    FeedMode.SLOW: _slow,
}
