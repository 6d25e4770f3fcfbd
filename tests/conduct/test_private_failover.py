"""Private requests that fail: the next instance, the next model, and what is final."""

from __future__ import annotations

from collections import Counter

from stub_backend.log import Received
from tests.conduct.asking import body, code
from tests.conduct.private import MINUTE, PrivateServed, PrivateTestCase, model
from tests.conduct.seen import CUT, WHOLE, Seen
from tests.conduct.served import question

CAPACITY = "invoke-429-capacity"
NONCE = "invoke-403-nonce"
SELECTED = "x-chutes-autopilot-selected"
FORGED = (
    "plain-chunk-injected",
    "plain-error-event",
    "plain-error-before-init",
    "outer-done-only",
    "usage-forged",
    "extra-event-after-done",
)
INSTANCE = "x-chutes-autopilot-instance"


def instances(calls: list[Received]) -> list[str | None]:
    """Return the instances that calls went to."""
    return [each.header("x-instance-id") for each in calls]


class FailoverTests(PrivateTestCase):
    """One request, and each of its attempts."""

    def setUp(self) -> None:
        """Start a router."""
        super().setUp()
        self.served = self.serve()

    def ask(self, models: str) -> Seen:
        """Request a stream of the first of several models."""
        return self.served.post(question(models))

    def sealed_anew(self, served: PrivateServed) -> list[Received]:
        """Return the sealed calls, of which no two share a nonce, a body or a key's ciphertext."""
        calls = served.invokes()
        self.assertEqual(len({each.header("x-e2e-nonce") for each in calls}), len(calls))
        self.assertEqual(len({each.body[:1088] for each in calls}), len(calls))
        self.assertEqual(len({each.body[-512:] for each in calls}), len(calls))
        self.assertEqual(served.plain(), [])
        return calls

    def test_healthy(self) -> None:
        """A request is answered by an attested instance, which the answer names."""
        answer = self.ask(model("ok"))
        self.assertEqual((answer.status, answer.end, answer.tokens), (200, WHOLE, 6))
        (call,) = self.sealed_anew(self.served)
        self.assertEqual(answer.headers[INSTANCE], call.header("x-instance-id"))
        # Roots of a test attest nothing.
        private = answer.headers["x-chutes-autopilot-private"]
        self.assertTrue(private.startswith("test-roots;age="), private)
        self.assertIn(';tcb="UpToDate";measurement="', private)

    def test_capacity(self) -> None:
        """An instance at its capacity leads to a sibling; several of them to the next model."""
        name, other = self.served.sealed("ok", CAPACITY), model("events")
        answer = self.ask(f"{name},{other}")
        self.assertEqual((answer.status, answer.headers[SELECTED]), (200, name))
        calls = self.sealed_anew(self.served)
        self.assertEqual(len(set(instances(calls))), 2)
        self.assertEqual(answer.headers[INSTANCE], instances(calls)[-1])
        self.served.sealed("ok", *[CAPACITY] * 9)
        answer = self.served.post(question(f"{name},{other}"), key="cpk_a.b.another")
        self.assertEqual((answer.status, answer.headers[SELECTED]), (200, other))
        calls = self.sealed_anew(self.served)[2:]
        chutes = Counter(each.header("x-chute-id") for each in calls)
        self.assertEqual(sorted(chutes.values()), [1, 2])
        self.assertEqual(len(set(instances(calls))), 3)

    def test_all_at_capacity(self) -> None:
        """Where none has room, the error says so, after as many instances as are allowed."""
        answer = self.ask(self.served.sealed("ok", *[CAPACITY] * 9))
        self.assertEqual((answer.status, code(answer)), (503, "private_unavailable"))
        self.assertIn(b"at capacity 3", answer.body)
        self.assertIn("retry-after", answer.headers)
        self.assertEqual(len(set(instances(self.sealed_anew(self.served)))), 3)

    def test_nonce(self) -> None:
        """A refused nonce leads to one discovery, and is no failed attempt."""
        answer = self.ask(self.served.sealed("ok", NONCE))
        self.assertEqual((answer.status, answer.end), (200, WHOLE))
        self.assertEqual(self.served.records[-1].attempts, 1)
        self.assertEqual(len(self.served.discoveries()), 2)
        self.assertEqual(len(self.sealed_anew(self.served)), 2)

    def test_nonces(self) -> None:
        """If nonces go on being refused, there is no second discovery for the request."""
        answer = self.ask(self.served.sealed("ok", *[NONCE] * 9))
        self.assertEqual(answer.status, 503)
        self.assertEqual(len(self.served.discoveries()), 2)
        self.assertEqual(len(self.sealed_anew(self.served)), 2)

    def test_sealed_refusal(self) -> None:
        """The engine's sealed refusal is final, with the router's text."""
        answer = self.ask(f"{model('400-sealed')},{model('ok')}")
        self.assertEqual((answer.status, code(answer)), (400, "private_rejected"))
        (call,) = self.sealed_anew(self.served)
        self.assertEqual(call.status, 400)
        self.assertNotIn(b"detail", answer.body)

    def test_key_changed(self) -> None:
        """An instance that has another key than it was attested with does not answer."""
        answer = self.ask(f"{model('key-changed')},{model('ok')}")
        self.assertEqual((answer.status, answer.headers[SELECTED]), (200, model("ok")))
        self.sealed_anew(self.served)

    def test_vanished(self) -> None:
        """An instance that has gone leads to another one."""
        answer = self.ask(f"{model('vanished')},{model('ok')}")
        self.assertEqual((answer.status, answer.headers[SELECTED]), (200, model("ok")))
        self.assertGreater(len(self.sealed_anew(self.served)), 2)

    def test_cut_after_commit(self) -> None:
        """A stream that breaks off after commit ends with the router's error event."""
        answer = self.ask(f"{model('cut')},{model('ok')}")
        self.assertEqual((answer.status, answer.end), (200, CUT))
        self.assertEqual(answer.code, "upstream_stream_interrupted")
        self.assertEqual(len(self.sealed_anew(self.served)), 1)

    def test_cut_before_commit(self) -> None:
        """One that must be complete before it is committed leads to another answer."""
        models = f"{model('cut')},{model('ok')}"
        answer = self.served.post(question(models), b"X-Autopilot-Commit: complete")
        self.assertEqual((answer.status, answer.end), (200, WHOLE))
        self.assertEqual(answer.headers[SELECTED], model("ok"))
        self.assertGreater(len(self.sealed_anew(self.served)), 1)

    def test_forged(self) -> None:
        """What the gateway adds to a stream, before, in or after it, reaches no client."""
        for scenario in FORGED:
            self.served.network.pass_time(MINUTE)
            answer = self.ask(model(f"stream-{scenario}"))
            self.assertNotIn(b"INJECTED", answer.body, scenario)
            self.assertNotIn(b"boom", answer.body, scenario)

    def test_never_plain(self) -> None:
        """Of what cannot be sent sealed, nothing is sent."""
        plain = next(each.name for each in self.served.stub.population.chat if not each.tee)
        answer = self.served.post(body(plain))
        self.assertEqual(answer.status // 100, 4)
        for path in ("/v1/messages", "/v1/responses", "/v1/messages/count_tokens"):
            answer = self.served.post(body(model("ok")), path=path)
            self.assertEqual((answer.status, answer.code), (400, "private_unsupported"), path)
        self.assertEqual(self.sealed_anew(self.served), [])
