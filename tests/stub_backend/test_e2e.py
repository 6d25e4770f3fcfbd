"""The stub's door to end-to-end encrypted calls, and the catalog by HEAD."""

from __future__ import annotations

import base64
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.stub_backend.exchange import Answer, Exchange

KEY = {"authorization": "Bearer cpk_a.b.c"}


class EncryptedTests(SynchronousTestCase):
    """Instances and nonces, and what becomes of calls with them."""

    def setUp(self) -> None:
        """A connection, and a model."""
        self.exchange = Exchange()
        self.chute = self.exchange.stub.population.chat[0]

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Answer:
        """One request to its end."""
        self.exchange.send(method, path, body, headers)
        self.exchange.run()
        answer = self.exchange.answer()
        assert answer is not None
        return answer

    def instances(self) -> list[dict[str, Any]]:
        """The instances of the model."""
        answer = self.send("GET", f"/e2e/instances/{self.chute.chute_id}", KEY)
        self.assertEqual((answer.status, answer.json()["nonce_expires_in"]), (200, 60))
        listed: list[dict[str, Any]] = answer.json()["instances"]
        return listed

    def invoke(self, body: bytes = b"sealed", **changes: str) -> tuple[int, str]:
        """A call in good order but for the changes; status and detail."""
        first = self.instances()[0]
        headers = {
            "x-chute-id": self.chute.chute_id,
            "x-instance-id": first["instance_id"],
            "x-e2e-nonce": first["nonces"][0],
        }
        changed = {name.replace("_", "-"): value for name, value in changes.items()}
        answer = self.send("POST", "/e2e/invoke", KEY | headers | changed, body)
        return answer.status, answer.json()["detail"]

    def test_instances(self) -> None:
        """At most five, each with a key of its size and ten nonces that nobody had before."""
        first, second = self.instances(), self.instances()
        self.assertLessEqual(len(first), 5)
        nonces = [nonce for each in (*first, *second) for nonce in each["nonces"]]
        self.assertEqual(len(nonces), 10 * (len(first) + len(second)))
        self.assertEqual(len(set(nonces)), len(nonces))
        self.assertEqual({len(base64.b64decode(each["e2e_pubkey"])) for each in first}, {1184})

    def test_refusals(self) -> None:
        """Each thing that can be wrong, and a call in order, which cannot be read here."""
        self.assertEqual(self.invoke()[0], 502)
        self.assertEqual(self.invoke(x_e2e_nonce="used")[0], 403)
        self.assertEqual(self.invoke(x_instance_id="none"), (404, "Instance not found"))
        self.assertEqual(self.invoke(x_chute_id="none"), (404, "Chute not found"))
        self.assertEqual(self.invoke(b""), (400, "Empty request body"))

    def test_nonces_are_used_up(self) -> None:
        """One nonce is one call."""
        nonce = self.instances()[0]["nonces"][0]
        self.assertEqual(self.invoke(x_e2e_nonce=nonce)[0], 502)
        self.assertEqual(self.invoke(x_e2e_nonce=nonce)[0], 403)

    def test_key(self) -> None:
        """Nothing without a key; unknown chutes and paths are absent."""
        path = f"/e2e/instances/{self.chute.chute_id}"
        self.assertEqual(self.send("GET", path, {}).status, 401)
        self.assertEqual(self.send("GET", "/e2e/instances/none", KEY).status, 404)
        self.assertEqual(self.send("GET", "/e2e/other", KEY).status, 404)

    def test_head_of_the_catalog(self) -> None:
        """HEAD is no way to see the catalog: it counts as a call, and a bad one."""
        self.assertEqual(self.send("HEAD", "/v1/models", {}).status, 401)
        self.assertEqual(self.send("HEAD", "/v1/models", KEY).status, 400)
