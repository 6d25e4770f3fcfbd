"""Tests of the endpoints of end-to-end encrypted calls, and of HEAD on the catalog."""

from __future__ import annotations

import base64
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.stub_backend.exchange import Answer, Exchange

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

    def invoke(self, body: bytes = b"sealed", **changes: str) -> tuple[int, str]:
        """Send a valid call with these changes, and return status and detail."""
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
        """At most five instances are listed, each with a key and ten new nonces."""
        first, second = self.instances(), self.instances()
        self.assertLessEqual(len(first), 5)
        nonces = [nonce for each in (*first, *second) for nonce in each["nonces"]]
        self.assertEqual(len(nonces), 10 * (len(first) + len(second)))
        self.assertEqual(len(set(nonces)), len(nonces))
        self.assertEqual({len(base64.b64decode(each["e2e_pubkey"])) for each in first}, {1184})

    def test_refusals(self) -> None:
        """Each invalid call has its error; a valid one gets that of a missing key."""
        self.assertEqual(self.invoke()[0], 502)
        self.assertEqual(self.invoke(x_e2e_nonce="used")[0], 403)
        self.assertEqual(self.invoke(x_instance_id="none"), (404, "Instance not found"))
        self.assertEqual(self.invoke(x_chute_id="none"), (404, "Chute not found"))
        self.assertEqual(self.invoke(b""), (400, "Empty request body"))

    def test_nonces_are_used_up(self) -> None:
        """A nonce is valid for one call."""
        nonce = self.instances()[0]["nonces"][0]
        self.assertEqual(self.invoke(x_e2e_nonce=nonce)[0], 502)
        self.assertEqual(self.invoke(x_e2e_nonce=nonce)[0], 403)

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
