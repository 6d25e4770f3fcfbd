"""Tests of the endpoints of end-to-end encrypted calls, and of HEAD on the catalog."""

from __future__ import annotations

import base64
import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.sealed_stream import StreamOpener
from autopilot.attestation.sealing import InstanceKey, ResponseKey, open_reply, seal
from tests.stub_backend.exchange import Answer, Exchange

CANARY = "a red heron in the reeds"
KEY = {"authorization": "Bearer cpk_a.b.c"}


class EncryptedTests(SynchronousTestCase):
    """Instances, nonces, and calls that use them."""

    def setUp(self) -> None:
        """Connect, and choose a model."""
        self.exchange = Exchange()
        self.chute = self.exchange.stub.population.chat[0]

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Answer:
        """Send a request, and return the whole response."""
        self.exchange.send(method, path, body, headers)
        self.exchange.run()
        answer = self.exchange.answer()
        assert answer is not None
        return answer

    def instances(self) -> list[dict[str, Any]]:
        """Return the instances of the model."""
        answer = self.send("GET", f"/e2e/instances/{self.chute.chute_id}", KEY)
        self.assertEqual((answer.status, answer.json()["nonce_expires_in"]), (200, 60))
        listed: list[dict[str, Any]] = answer.json()["instances"]
        return listed

    def headers(self, instance: dict[str, Any]) -> dict[str, str]:
        """Return the headers of a valid call of an instance, with its first nonce."""
        return KEY | {
            "x-chute-id": self.chute.chute_id,
            "x-instance-id": instance["instance_id"],
            "x-e2e-nonce": instance["nonces"].pop(0),
            "x-e2e-stream": "false",
            "x-e2e-path": "/v1/chat/completions",
        }

    def invoke(self, body: bytes = b"not sealed", **changes: str) -> tuple[int, Any]:
        """Send a call with these changes, and return status and detail."""
        changed = {name.replace("_", "-"): value for name, value in changes.items()}
        given = self.headers(self.instances()[0]) | changed
        answer = self.send("POST", "/e2e/invoke", given, body)
        return answer.status, answer.json()["detail"]

    def call(self, **members: Any) -> tuple[Answer, ResponseKey]:
        """Seal a call as the router does, and return the response and its key."""
        first = self.instances()[0]
        body = {"model": self.chute.name, "messages": [{"role": "user", "content": CANARY}]}
        sent = seal(json.dumps(body | members).encode(), InstanceKey(first["e2e_pubkey"]))
        streams = {"x-e2e-stream": str(bool(members.get("stream"))).lower()}
        headers = self.headers(first) | streams
        return self.send("POST", "/e2e/invoke", headers, sent.blob), sent.response_key

    def test_instances(self) -> None:
        """At most five instances are listed, each with a key and ten new nonces."""
        first, second = self.instances(), self.instances()
        self.assertLessEqual(len(first), 5)
        nonces = [nonce for each in (*first, *second) for nonce in each["nonces"]]
        self.assertEqual(len(nonces), 10 * (len(first) + len(second)))
        self.assertEqual(len(set(nonces)), len(nonces))
        self.assertEqual({len(base64.b64decode(each["e2e_pubkey"])) for each in first}, {1184})

    def test_five_of_fourteen(self) -> None:
        """Another five of a chute's instances are listed each time."""
        self.chute = next(
            each for each in self.exchange.stub.population.chat if each.load.active >= 14
        )
        seen = [frozenset(each["instance_id"] for each in self.instances()) for _ in range(8)]
        self.assertEqual({len(each) for each in seen}, {5})
        self.assertGreater(len(set(seen)), 1)

    def test_refusals(self) -> None:
        """Each invalid call has its error, and the nonce is checked before all else."""
        invalid = (403, "Invalid, expired, or already-used nonce")
        self.assertEqual(self.invoke(), (400, '{"detail":"E2E decryption failed"}'))
        self.assertEqual(self.invoke(x_e2e_nonce="used"), invalid)
        self.assertEqual(self.invoke(x_instance_id="none"), invalid)
        self.assertEqual(self.invoke(x_chute_id="none"), invalid)
        self.assertEqual(self.invoke(authorization="Bearer cpk_other.b.c"), invalid)
        self.assertEqual(self.invoke(b""), (400, "Empty request body"))
        answer = self.send("POST", "/e2e/invoke", KEY, b"x")
        self.assertEqual(answer.status, 422)
        self.assertEqual(answer.json()["detail"][0]["loc"], ["header", "X-Chute-Id"])

    def test_nonces_are_used_up(self) -> None:
        """A nonce is valid for one call, even for one that fails, and for a limited time."""
        given = self.headers(self.instances()[0])
        statuses = [self.send("POST", "/e2e/invoke", given, b"x").status for _ in range(2)]
        self.assertEqual(statuses, [400, 403])
        given = self.headers(self.instances()[0])
        self.exchange.clock.advance(75)  # closes the idle connection too
        self.exchange = self.exchange.another()
        self.assertEqual(self.send("POST", "/e2e/invoke", given, b"x").status, 403)

    def test_plain(self) -> None:
        """The router opens the reply, and neither text is in the bytes of the connection."""
        answer, key = self.call()
        self.assertEqual((answer.status, answer.content_type), (200, "application/octet-stream"))
        reply = json.loads(open_reply(answer.body, key))
        self.assertEqual(reply["model"], self.chute.name)
        text = reply["choices"][0]["message"]["content"].encode()
        self.assertNotIn(text, answer.body)
        self.assertNotIn(CANARY.encode(), self.exchange.last.body)
        self.assertEqual(self.exchange.last.model, self.chute.name)
        self.assertNotIn(CANARY.encode(), self.send("GET", "/stub/log", {}).body)
        (opened,) = self.send("GET", "/stub/opened", {}).json().values()
        self.assertEqual(opened["messages"][0]["content"], CANARY)
        told = self.exchange.stub.ledger.accounts[self.chute.name].told
        self.assertEqual(told.completion, reply["usage"]["completion_tokens"])

    def test_stream(self) -> None:
        """The router opens the stream, whose end is sealed too."""
        answer, key = self.call(stream=True)
        self.assertEqual((answer.status, answer.content_type), (200, "text/event-stream"))
        self.assertNotIn(b"[DONE]", answer.body)
        self.assertNotIn(b"choices", answer.body)
        opener = StreamOpener(key)
        plain = opener.feed(answer.body)
        self.assertTrue(opener.ended)
        self.assertIsNone(opener.fault)
        self.assertFalse(opener.plain)
        self.assertTrue(plain.rstrip().endswith(b"data: [DONE]"))
        self.assertIn(b'"usage":{', plain)

    def test_refused_by_the_engine(self) -> None:
        """The reason of a 400 cannot be read; other errors of the engine lose theirs."""
        self.exchange.stub.script(self.chute.name, ["400-context"], "500-engine")
        answer, _key = self.call()
        detail = answer.json()["detail"]
        self.assertEqual(answer.status, 400)
        self.assertGreater(len(base64.b64decode(detail, validate=True)), 1088)
        answer, _key = self.call()
        self.assertEqual(answer.json(), {"detail": "Instance returned status 500"})

    def test_disagreement(self) -> None:
        """Header and body have to agree on the stream, as must model and path with the instance."""
        first = self.instances()[0]

        def status(body: dict[str, Any], **changes: str) -> int:
            sent = seal(json.dumps(body).encode(), InstanceKey(first["e2e_pubkey"]))
            changed = {name.replace("_", "-"): value for name, value in changes.items()}
            headers = self.headers(first) | changed
            return self.send("POST", "/e2e/invoke", headers, sent.blob).status

        usual = {"model": self.chute.name, "messages": []}
        self.assertEqual(status(usual | {"stream": "false"}), 500)
        self.assertEqual(status(usual, x_e2e_path="/v1/messages"), 403)
        self.assertEqual(status({"model": self.chute.chute_id}), 404)
        self.assertEqual(status(usual, x_e2e_stream="true"), 200)
        garbage = self.exchange.answer()
        assert garbage is not None
        self.assertNotIn(b"e2e_init", garbage.body)

    def test_key(self) -> None:
        """A key is required; unknown chutes and paths are 404."""
        path = f"/e2e/instances/{self.chute.chute_id}"
        self.assertEqual(self.send("GET", path, {}).status, 401)
        self.assertEqual(self.send("GET", "/e2e/instances/none", KEY).status, 404)
        self.assertEqual(self.send("GET", "/e2e/other", KEY).status, 404)

    def test_head_of_the_catalog(self) -> None:
        """HEAD on the catalog is treated as an invalid call."""
        self.assertEqual(self.send("HEAD", "/v1/models", {}).status, 401)
        self.assertEqual(self.send("HEAD", "/v1/models", KEY).status, 400)
