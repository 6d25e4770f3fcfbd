"""Tests of evidence on the status page, with a whole router and a platform in memory."""

from __future__ import annotations

import json
import re
from typing import Any

from stub_backend.evidence_bodies import body, instance_evidence
from tests.unit.relay.upstreams import whole
from tests.unit.service.platforms import NAMES, ServiceTestCase, Wire
from tests.unit.web.browsers import Browser, ask, request

HOURS = 6 * 3600
QUESTION = re.compile(
    rb"GET /chutes/acme%2F(one|two)/evidence\?nonce=([0-9a-f]{64}) HTTP/1\.1\r\n"
    rb"((?:[^\r\n]+\r\n)*)\r\n"
)


class EvidenceTests(ServiceTestCase):
    """The router fetches evidence and shows its state."""

    def setUp(self) -> None:
        """Start a ready router that fetches evidence."""
        super().setUp()
        self.router = self.running(evidence_refresh_ms=HOURS * 1000)

    def tearDown(self) -> None:
        """Stop the router, which must leave no timer or connection."""
        for browser in self.browsers:
            browser.leaves()
        self.successResultOf(self.router.stopService())
        self.assert_at_rest()

    def questions(self, seconds: int) -> list[Wire]:
        """Return the requests for evidence of the next seconds."""
        before = len(self.platform.wires)
        for _ in range(seconds):
            self.reactor.advance(1.0)
            self.platform.take()
        return [wire for wire in self.platform.wires[before:] if b"/evidence" in wire.value()]

    def answer(self, wire: Wire) -> str:
        """Answer one request as the platform would, and return its nonce."""
        asked = QUESTION.fullmatch(wire.value())
        assert asked is not None, wire.value()
        nonce = asked[2].decode()
        evidence = [instance_evidence(f"{asked[1]!r}-{each}", nonce) for each in range(2)]
        wire.says(whole(200, json.dumps(body(evidence, ["the-late-one"])).encode()))
        return nonce

    def page(self, path: bytes = b"/status.json") -> bytes:
        """Fetch a page of the router."""
        browser: Browser = self.browser()
        browser.sends(request(path, method=b"GET"))
        response = browser.response
        browser.leaves()
        self.assertEqual(response.status, 200)
        return response.body

    def evidence(self) -> Any:
        """Return the evidence in /status.json."""
        return json.loads(self.page())["evidence"]

    def test_before(self) -> None:
        """Before the first fetch every TEE model is shown as not fetched."""
        self.assertEqual(self.evidence(), {name: {"state": "not-fetched"} for name in NAMES})
        self.assertEqual(self.questions(29), [])

    def test_present(self) -> None:
        """JSON and page show state, age and counts, and that the evidence is not verified."""
        (wire,) = self.questions(50)
        self.assertEqual(self.platform.ports[self.platform.wires.index(wire)], 84)
        self.answer(wire)
        self.reactor.advance(2.0)
        shown = self.evidence()
        self.assertEqual(
            shown[NAMES[0]],
            {
                "state": "evidence-present-unverified",
                "reason": None,
                "age_ms": 2000,
                "instances": 2,
                "failed": 1,
                "gpus": 16,
                "certificate_bound": True,
                "nonces_bound": 0,
                "last_error": None,
            },
        )
        self.assertEqual(shown[NAMES[1]], {"state": "not-fetched"})
        page = self.page(b"/status")
        self.assertIn(b"evidence-present-unverified", page)
        self.assertIn(b">present, not verified<", page)
        self.assertIn(b">not fetched yet<", page)
        self.assertNotIn(b"left unverified", page)
        for denied in (b"unverified", b"not verified", b"does not verify"):
            page = page.replace(denied, b"")
        self.assertNotIn(b"verif", page)

    def test_nothing_of_the_answer(self) -> None:
        """No page, metric or error contains the nonce or the evidence."""
        (first,) = self.questions(50)
        nonce = self.answer(first)
        (second,) = self.questions(45)
        second.says(whole(400, b'{"detail":"secret nonsense"}'))
        shown = self.page() + self.page(b"/status") + self.page(b"/metrics")
        for text in (nonce.encode(), b"secret nonsense", b"the-late-one", b"192.0.2.1", b"BwAAAA"):
            self.assertNotIn(text, shown)
        self.assertEqual(self.evidence()[NAMES[1]]["reason"], "refused")

    def test_unavailable(self) -> None:
        """An unreachable platform is shown as a reason, and does not affect readiness."""
        (wire,) = self.questions(50)
        wire.breaks()
        shown = self.evidence()[NAMES[0]]
        self.assertEqual(shown["state"], "evidence-unavailable")
        self.assertEqual(shown["reason"], "unreachable")
        page = self.page(b"/status")
        self.assertIn(b">none<", page)
        self.assertIn(b"<td>unreachable</td>", page)
        self.assertTrue(json.loads(self.page())["ready"])

    def test_no_credentials(self) -> None:
        """A request for evidence contains nothing that a client sent."""
        browser = self.browser()
        browser.sends(request(b"/v1/chat/completions", b"Authorization: Bearer x", body=ask()))
        self.platform.wire.says(whole(200, b"{}"))
        (wire,) = self.questions(50)
        asked = QUESTION.fullmatch(wire.value())
        assert asked is not None, wire.value()
        fields = {line.partition(b":")[0].lower() for line in asked[3].splitlines()}
        self.assertEqual(fields, {b"accept", b"accept-encoding", b"connection", b"host"})
        wire.breaks()

    def test_never_on_the_way(self) -> None:
        """A hanging request for evidence delays no client, and is cancelled on shutdown."""
        (wire,) = self.questions(50)
        browser = self.browser()
        browser.sends(request(body=ask()))
        self.platform.wire.says(whole(200, b'{"a":1}'))
        self.assertEqual(browser.response.body, b'{"a":1}')
        self.assertFalse(wire.lost)

    def test_off(self) -> None:
        """EVIDENCE_REFRESH_MS=0 disables the requests."""
        self.successResultOf(self.router.stopService())
        self.reactor.tcpServers.clear()
        self.router = self.running(evidence_refresh_ms=0)
        self.assertEqual(self.questions(200), [])
        self.assertEqual(self.evidence()[NAMES[0]], {"state": "not-fetched"})
