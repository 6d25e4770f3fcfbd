"""Prompts, answers, nonces and keys in private mode: nothing outside the seal has them."""

from __future__ import annotations

import json
import re
from base64 import b64encode

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.conduct.private import MINUTE, PrivateServed, PrivateTestCase, model
from tests.conduct.seen import Seen

PROMPT = "canaryprompt-7d1f0c6e"
KEY = "cpk_canary.canary.canary"
# Ways in which a text can be written.
_NONCE = re.compile(rb'"nonces": ?\[([^\]]*)\]')
_PUBLIC = re.compile(rb'"e2e_pubkey": ?"([^"]+)"')
PAGES = ("/metrics", "/status", "/status.json", "/readyz", "/healthz", "/v1/models")
SCENARIOS = (
    "ok",
    "odd",
    "cut",
    "400-sealed",
    "key-changed",
    "vanished",
    "invoke-429-capacity",
    "invoke-403-nonce",
    "invoke-500",
    "stream-event-repeated",
    "evidence-other-pubkey",
    "evidence-gpu-stale-nonce",
    "discovery-429",
)


def spellings(text: bytes) -> set[bytes]:
    """Return a text as it is, in hexadecimal digits, and in base64 at any offset."""
    shifted = (b64encode(b"\0" * at + text)[4 if at else 0 :].rstrip(b"=")[:-2] for at in range(3))
    return {text, text.hex().encode(), *shifted}


class CanaryTests(PrivateTestCase):
    """All that a router shows of some requests, of which most fail."""

    def setUp(self) -> None:
        """Ask for every kind of answer, and keep what is shown anywhere."""
        super().setUp()
        self.spans = InMemorySpanExporter()
        traces = TracerProvider(shutdown_on_exit=False)
        traces.add_span_processor(SimpleSpanProcessor(self.spans))
        self.served = self.serve(
            traces=traces, log_level="debug", log_format="json", log_sample=1.0
        )
        self.answers: list[Seen] = []
        for scenario in SCENARIOS:
            for stream in (True, False):
                self.served.network.pass_time(MINUTE)
                self.answers.append(self.ask(self.served, scenario, stream))

    def test_canaries(self) -> None:
        """Nothing that is sealed or secret is anywhere else."""
        self.assertGreaterEqual(len(self.spans.get_finished_spans()), len(self.answers))
        self.check_prompt()
        self.check_answers()
        self.check_nonces_and_keys()
        self.check_evidence()
        self.check_headers_up()

    def ask(self, served: PrivateServed, scenario: str, stream: bool) -> Seen:
        """Ask one model, with a prompt that nothing but its instance may see."""
        messages = [{"role": "user", "content": PROMPT}]
        request = {"model": model(scenario), "stream": stream, "messages": messages, "user": PROMPT}
        return served.post(json.dumps(request).encode(), key=KEY)

    def shown(self) -> bytes:
        """Return what the router shows to anyone but the client."""
        pages = [self.served.get(path).body for path in PAGES]
        records = [repr(each).encode() for each in self.served.records]
        spans = [each.to_json().encode() for each in self.spans.get_finished_spans()]
        logged = [text.encode() for _level, text in self.logged.events]
        return b"\n".join([*pages, *records, *spans, *logged])

    def gateway(self) -> bytes:
        """Return all that the platform received and sent."""
        return b"".join([*self.served.watched.up, *self.served.watched.down])

    def absent(self, canary: bytes, *places: bytes) -> None:
        """Assert that a canary is in none of these places, in no spelling."""
        self.assertGreater(len(canary), 8)
        for place in places:
            for spelling in spellings(canary):
                self.assertNotIn(spelling, place)

    def check_prompt(self) -> None:
        """The prompt is in no byte that the gateway saw, and nothing shows it."""
        opened = json.dumps(self.served.stub.log.opened)
        self.assertIn(PROMPT, opened)
        self.absent(PROMPT.encode(), self.gateway(), self.shown())
        for answer in self.answers:
            if answer.status != 200:
                self.absent(PROMPT.encode(), answer.body)

    def check_answers(self) -> None:
        """So are the answers, whole or in part."""
        said = {each.text for each in self.answers if each.text}
        self.assertGreater(len(said), 1)
        gateway, shown = self.gateway(), self.shown()
        for text in said:
            self.absent(text[:12].encode(), gateway, shown)

    def check_nonces_and_keys(self) -> None:
        """Nonces, instances' keys and the client's key are shown to the platform alone."""
        down = b"".join(self.served.watched.down)
        nonces = {
            each for found in _NONCE.findall(down) for each in re.findall(rb'"([^"]+)"', found)
        }
        keys = set(_PUBLIC.findall(down))
        self.assertGreater(len(nonces), 100)
        self.assertGreater(len(keys), 10)
        shown = self.shown() + b"".join(each.body for each in self.answers)
        shown += b"".join(repr(each.headers).encode() for each in self.answers)
        for secret in (*nonces, *(key[:40] for key in keys), KEY.encode()):
            self.assertNotIn(secret, shown)

    def check_evidence(self) -> None:
        """Questions about evidence, and the certificates in it, are not shown either."""
        questions = {
            each.path.rpartition("nonce=")[2]
            for each in self.served.stub.log
            if "nonce=" in each.path
        }
        self.assertGreater(len(questions), 5)
        shown = self.shown()
        for question in questions:
            self.assertNotIn(question.encode(), shown)
        self.assertNotIn(b"BEGIN CERTIFICATE", shown)

    def check_headers_up(self) -> None:
        """Of the client's own fields, its key alone is outside the seal."""
        allowed = {
            "host",
            "accept-encoding",
            "content-length",
            "content-type",
            "authorization",
            "x-chute-id",
        }
        allowed |= {"x-instance-id", "x-e2e-nonce", "x-e2e-stream", "x-e2e-path"}
        for call in self.served.invokes():
            self.assertEqual({name.lower() for name, _ in call.headers}, allowed)
