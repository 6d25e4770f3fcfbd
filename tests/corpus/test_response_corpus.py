"""Every upstream response of the corpus: alone and as the first of two, in all divisions.

After each one another client sends a request and must receive its own response, on the same
upstream connection or another one, as the case says: no byte of a response may reach the next
request.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from twisted.web.resource import IResource
from twisted.web.server import Site

from tests.corpus import strict
from tests.corpus.corpora import RESPONSES, Case, Ending, small_reads
from tests.corpus.expected import Fate, Verdict
from tests.unit.relay.chunks import cut
from tests.unit.relay.upstreams import Wire, whole
from tests.unit.web.browsers import Browser, SiteTestCase, ask

_REUSED = {"yes": True, "no": False, "either": None}
_SECOND = b'{"answer":"of the second"}'
_NEXT = b'{"answer":"to the next"}'
_WAYS = (
    ("alone", "a", False),
    ("alone, in single bytes", "a", True),
    ("as the first of two", "a,b", False),
    ("as the first of two, in single bytes", "a,b", True),
)


class ResponseCorpus(SiteTestCase):
    """Replays a case and checks the client, the second candidate and the next request."""

    def play(self, case: Case) -> None:
        """Replay a case in every way, each time with a new router."""
        for how, models, bytewise in _WAYS:
            try:
                self.play_once(case, models=models, bytewise=bytewise)
                self.tearDown()
            except Exception as error:
                error.add_note(f"played {how}")
                raise
            self.setUp()

    def play_once(self, case: Case, *, models: str, bytewise: bool) -> None:
        """Send the upstream's bytes; check the client's response against the file."""
        verdict = _verdict(case, models)
        browser = self.post(ask(models, stream=case.fact("request") == "stream"))
        first = self.wire
        sent = case.sections["upstream sends"]
        for read in sent.reads:
            for piece in cut(read, small_reads(read)) if bytewise else [read]:
                first.says(piece)
        if sent.ending is Ending.CLOSE:
            first.closes()
        elif sent.ending is Ending.RESET:
            first.resets()
        match verdict.fate:
            case Fate.ANSWERED | Fate.CUT if verdict.alone and "b" in models:
                self.check_failure(browser, verdict, first, second=True)
            case Fate.FAILED:
                self.check_failure(browser, verdict, first, second="b" in models)
            case Fate.ANSWERED:
                self.check_answer(browser, case, verdict)
                self.assertEqual(self.upstreams.wires, [first])
            case Fate.CUT:
                self.check_cut(browser, case, verdict)
                self.assertEqual(self.upstreams.wires, [first])
        reused = _is_reused(case, verdict)
        if reused is None:
            reused = first.alive
        self.assertEqual(first.alive, reused)
        self.check_next(first, reused=reused)

    def check_answer(self, browser: Browser, case: Case, verdict: Verdict) -> None:
        """Check for a complete response with this body and these fields."""
        response = browser.response
        self.assertEqual((response.status, response.whole), (verdict.status, True))
        self.assertEqual(response.body, _body(case))
        self.check_fields(browser, case)
        self.assertFalse(browser.closed)

    def check_cut(self, browser: Browser, case: Case, verdict: Verdict) -> None:
        """Check for a truncated response, perhaps with an error event, and a closed connection."""
        response = browser.response
        self.assertEqual((response.status, response.whole), (verdict.status, False))
        said = response.body[len(_body(case)) :]
        self.assertEqual(response.body, _body(case) + said)
        if verdict.error_event:
            self.assertEqual(_error_code(said), "upstream_stream_interrupted")
        else:
            self.assertEqual(said, b"")
        self.check_fields(browser, case)
        self.assertTrue(browser.closed)

    def check_failure(
        self, browser: Browser, verdict: Verdict, first: Wire, *, second: bool
    ) -> None:
        """Check for an error of the router, or for the next candidate's response alone."""
        if second:
            self.assertEqual(browser.wire, b"")
            if not (verdict.alone and first.alive):  # a kept connection carries the next call
                self.assertIsNot(self.wire, first)
            self.wire.says(whole(200, _SECOND))
            self.assertEqual((browser.response.status, browser.response.body), (200, _SECOND))
            return
        self.assertEqual(self.upstreams.wires, [first])
        self.assertEqual(browser.response.error[::2], (verdict.status, verdict.code))

    def check_fields(self, browser: Browser, case: Case) -> None:
        """Check that the head has these lines once, and lacks these fields."""
        lines = browser.wire.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
        for field in case.facts.get("field", ()):
            self.assertEqual(lines.count(field.encode("ascii")), 1, field)
        names = [line.partition(b":")[0].lower() for line in lines]
        for absent in case.facts.get("absent", ()):
            self.assertNotIn(absent.lower().encode("ascii"), names)
        for name in (b"content-length", b"transfer-encoding", b"x-request-id"):
            self.assertLessEqual(names.count(name), 1)
        self.assertFalse({b"content-length", b"transfer-encoding"} <= set(names))

    def check_next(self, first: Wire, *, reused: bool) -> None:
        """Check that the next request is forwarded normally, and receives its own response."""
        before = len(self.upstreams.wires), len(first.value())
        browser = self.post(ask("c", stream=False))
        on_first = len(first.value()) > before[1]
        self.assertEqual(on_first, reused)
        asked, rest = strict.requests(self.wire.value())
        names = {name.lower() for name, _ in asked[-1].fields}
        self.assertEqual((asked[-1].body, rest), (ask("c", stream=False), b""))
        self.assertEqual(names, {b"host", b"accept-encoding", b"via", b"content-length"})
        self.wire.says(whole(200, _NEXT))
        self.assertEqual((browser.response.status, browser.response.body), (200, _NEXT))


class OverOwnChannel(ResponseCorpus):
    """Clients of the router itself."""


class OverTwistedsChannel(ResponseCorpus):
    """Clients of an embedding site."""

    def make_site(self, resource: IResource) -> Site:
        """See `SiteTestCase`."""
        return Site(resource, reactor=self.clock)


def _verdict(case: Case, models: str) -> Verdict:
    return Verdict.of(("," in models and case.fact("two")) or case.fact("outcome"))


def _is_reused(case: Case, verdict: Verdict) -> bool | None:
    """Return whether the connection is reused; ``None`` if both are harmless."""
    if verdict.fate is not Fate.ANSWERED:
        return False
    return _REUSED[case.fact("reused")]


def _body(case: Case) -> bytes:
    section = case.sections.get("client gets")
    return section.whole if section is not None else b""


def _error_code(said: bytes) -> object:
    """Return the code of the error event in ``said``, which may begin with an empty line."""
    event = said.removeprefix(b"\n\n")
    assert event.startswith(b"data: ") and event.endswith(b"\n\n") and event.count(b"\n") == 2
    return json.loads(event.removeprefix(b"data: "))["error"]["code"]


def _plays(case: Case) -> Callable[[ResponseCorpus], None]:
    def test(self: ResponseCorpus) -> None:
        self.play(case)

    test.__doc__ = case.fact("tries")
    return test


for _case in RESPONSES.cases():
    setattr(OverOwnChannel, f"test_{_case.name}", _plays(_case))
    setattr(OverTwistedsChannel, f"test_{_case.name}", _plays(_case))
