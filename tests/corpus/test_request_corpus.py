"""Every request of the corpus, on the router's own channel and on Twisted's.

Each is replayed as its file divides it and in single bytes; several requests also with an upstream
that responds only after all of them. The outcome must be the same each time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.web.resource import IResource
from twisted.web.server import Site

from autopilot.http.limits import Limits
from autopilot.request.parse import ParseConfig
from tests.corpus import strict
from tests.corpus.corpora import REQUESTS, Case, Ending, small_reads
from tests.corpus.expected import How, Outcome, Then
from tests.unit.relay.chunks import cut
from tests.unit.relay.upstreams import whole
from tests.unit.web.browsers import Browser, SiteTestCase, ask, request
from tests.unit.web.responses import Response, responses

LIMIT = 1000
_PROBE = request(body=ask("c", stream=False))
_WAYS = (
    ("as the file cuts it", False, False),
    ("in single bytes", True, False),
    ("and answered late", False, True),
)


class RequestCorpus(SiteTestCase):
    """Replays a case and checks both sides."""

    twisted = False
    limits = Limits(body_bytes=LIMIT)

    def build(self, **settings: Any) -> None:
        """See `RouterTestCase`; a small limit on bodies keeps the corpus small."""
        super().build(**settings)
        config = self.config
        parsing = ParseConfig.of(config.parsing.rules, config.parsing.commit, LIMIT)
        self.proxy.configure(replace(config, parsing=parsing))

    def play(self, case: Case) -> None:
        """Replay a case in every way, each time with a new router."""
        several = len(self.outcome(case).answers) > 1
        for how, bytewise, late in _WAYS if several else _WAYS[:2]:
            try:
                self.play_once(case, bytewise=bytewise, late=late)
                self.tearDown()
            except Exception as error:
                error.add_note(f"played {how}")
                raise
            self.setUp()

    def play_once(self, case: Case, *, bytewise: bool, late: bool) -> None:
        """Send the client's bytes; then check both sides against the file."""
        outcome = self.outcome(case)
        sent = case.sections["client sends"]
        self.silent = case.fact("platform") == "silent"
        self.told: dict[int, int] = {}
        self.browser_at_hand = browser = self.browser()
        for read in sent.reads:
            for piece in _cut(read, bytewise=bytewise):
                self.sends(piece)
                if not late:
                    self.upstream_answers()
        self.upstream_answers()
        if sent.ending is not Ending.NOTHING:
            browser.leaves()
        self.check_answers(browser, outcome, head_only=sent.whole.startswith(b"HEAD "))
        self.check_upstream(case, outcome)
        self.check_end(browser, outcome)

    def sends(self, data: bytes) -> None:
        """Deliver one read of the client's connection, if it is still open."""
        self.browser_at_hand.sends(data)

    @classmethod
    def outcome(cls, case: Case) -> Outcome:
        """Return the expected outcome."""
        return Outcome.of(case.fact("outcome"))

    def upstream_answers(self) -> None:
        """Respond to the waiting upstream requests, and to those that arrive as a result."""
        while not self.silent and (waiting := self.unanswered()):
            for wire in waiting:
                self.told[id(wire)] = self.told.get(id(wire), 0) + 1
                wire.says(whole(200, b'{"answer":%d}' % sum(self.told.values())))
                self.browser_at_hand.turn()

    def unanswered(self) -> list[Any]:
        """Return the upstream connections with a waiting request."""
        return [
            wire
            for wire in self.upstreams.wires
            if len(strict.requests(wire.value())[0]) > self.told.get(id(wire), 0)
        ]

    # -- checks of both sides

    def check_answers(self, browser: Browser, outcome: Outcome, *, head_only: bool) -> None:
        """Check for exactly these responses, each to its own request."""
        got = responses(browser.wire, head_only=head_only)
        wanted = [each for each in outcome.answers if each.how is not How.ABANDONED]
        self.assertEqual([each.status for each in got], [each.status for each in wanted])
        relayed = 0
        for response, answer in zip(got, wanted, strict=True):
            if answer.how is How.RELAYED:
                relayed += 1
                self.assertEqual(response.body, b'{"answer":%d}' % relayed)
            elif answer.code is not None and not self.is_bare(response):
                self.assertEqual(_code(response), answer.code)
            if answer.how is How.REFUSED and not self.is_bare(response):
                self.assertEqual(response.value(b"connection"), b"close")

    def is_bare(self, response: Response) -> bool:
        """Return whether Twisted's channel sent this response, which is only a status."""
        return self.twisted and not response.fields

    def check_upstream(self, case: Case, outcome: Outcome) -> None:
        """Check for these exact bytes upstream, or none."""
        got = b"".join(wire.value() for wire in self.upstreams.wires)
        section = case.sections.get(self.expectation(case))
        wanted = section.whole if outcome.relays and section is not None else b""
        found, rest = strict.requests(got)
        self.assertEqual((len(found), rest), (outcome.relays, b""))
        self.compare(found, got, wanted)

    def expectation(self, case: Case) -> str:
        """Return the section with the upstream request."""
        return "upstream gets"

    def compare(self, found: list[strict.Request], got: bytes, wanted: bytes) -> None:
        """Check the bytes."""
        self.assertEqual(got, wanted)

    def check_end(self, browser: Browser, outcome: Outcome) -> None:
        """Check the state of the connection, and that nothing of the case remains on it."""
        self.assertEqual(browser.closed, outcome.then is Then.CLOSED)
        before = len(browser.wire), self.count()
        match outcome.then:
            case Then.KEPT:
                self.check_next(browser)
            case Then.CLOSED:
                self.check_deaf(browser)
                self.assertEqual((len(browser.wire), self.count()), before)
            case Then.WAITING | Then.LEFT:
                browser.leaves()
                self.clock.advance(0)
                self.assertEqual((len(browser.wire), self.count()), before)
        if any(each.how is How.ABANDONED for each in outcome.answers):
            self.assertEqual(self.upstreams.alive, [])

    def count(self) -> int:
        """Return the number of bytes sent upstream."""
        return sum(len(wire.value()) for wire in self.upstreams.wires)

    def check_next(self, browser: Browser) -> None:
        """Check that the next request on the connection is parsed from its start, and served."""
        answered, sent = len(browser.wire), self.count()
        self.sends(_PROBE)
        self.silent = False
        self.upstream_answers()
        (answer,) = responses(browser.wire[answered:])
        self.assertEqual(answer.body, b'{"answer":%d}' % sum(self.told.values()))
        self.assertEqual(self.count() - sent, len(_PROBE_UPSTREAM))
        self.assertTrue(
            any(wire.value().endswith(_PROBE_UPSTREAM) for wire in self.upstreams.wires)
        )

    def check_deaf(self, browser: Browser) -> None:
        """Check that further bytes of the client are ignored."""
        browser.protocol.dataReceived(_PROBE)
        self.upstream_answers()


_PROBE_UPSTREAM = (
    b"POST /base/v1/chat/completions HTTP/1.1\r\nHost: llm.test\r\nAccept-Encoding: identity\r\n"
    b"Via: 1.1 chutes-autopilot-test\r\nContent-Length: %d\r\n\r\n%b"
    % (len(ask("c", stream=False)), ask("c", stream=False))
)


def _cut(data: bytes, *, bytewise: bool) -> list[bytes]:
    return cut(data, small_reads(data)) if bytewise else [data]


def _code(response: Response) -> str | None:
    return response.error[2] if response.body else None


class OverOwnChannel(RequestCorpus):
    """The router's own channel."""


class OverTwistedsChannel(RequestCorpus):
    """Twisted's channel: more lenient in places, but never ambiguous about an end."""

    twisted = True

    def make_site(self, resource: IResource) -> Site:
        """See `SiteTestCase`."""
        return Site(resource, reactor=self.clock)

    @classmethod
    def outcome(cls, case: Case) -> Outcome:
        """See `RequestCorpus`."""
        return Outcome.of(case.fact("twisted") or case.fact("outcome"))

    def sends(self, data: bytes) -> None:
        """Drop the connection after an exception in a protocol, as a reactor does."""
        try:
            super().sends(data)
        except ValueError:
            self.browser_at_hand.peer.loseConnection()

    def expectation(self, case: Case) -> str:
        """See `RequestCorpus`."""
        own = "upstream gets over twisted"
        return own if own in case.sections else super().expectation(case)

    def compare(self, found: list[strict.Request], got: bytes, wanted: bytes) -> None:
        """Compare loosely: Twisted changes field names, and joins repeated fields."""
        self.assertEqual(
            [each.meaning for each in found],
            [each.meaning for each in strict.requests(wanted)[0]],
        )

    def check_deaf(self, browser: Browser) -> None:
        """Check nothing: a closing transport reads no more."""


def _plays(case: Case) -> Callable[[RequestCorpus], None]:
    def test(self: RequestCorpus) -> None:
        self.play(case)

    test.__doc__ = case.fact("tries")
    return test


for _case in REQUESTS.cases():
    setattr(OverOwnChannel, f"test_{_case.name}", _plays(_case))
    setattr(OverTwistedsChannel, f"test_{_case.name}", _plays(_case))
