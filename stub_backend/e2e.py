"""The endpoints `/e2e/*` of end-to-end encrypted calls, without the encryption.

They list instances, issue nonces and reject calls as the platform does. The stub cannot decrypt, so
a valid call gets the error for an instance without a key.
"""

from __future__ import annotations

import hashlib

from stub_backend.auth import unauthorised
from stub_backend.evidence_bodies import e2e_pubkey, instance_ids
from stub_backend.log import Received
from stub_backend.native import known
from stub_backend.population import Population
from stub_backend.problem import Problem

PREFIX = "/e2e/"
NONCES = 10
INSTANCES = 5
LASTS = 60
_LIST = PREFIX + "instances/"
_INVOKE = PREFIX + "invoke"


class EndToEnd:
    """The issued and unused nonces; each is valid for one chute."""

    def __init__(self, population: Population) -> None:
        self._population = population
        self._nonces: dict[str, str] = {}
        self._given = 0

    def answer(self, record: Received, now: float) -> dict[str, object] | Problem:
        """Return the JSON of one call below `PREFIX`, or its error."""
        problem = unauthorised(record)
        if problem is not None:
            return problem
        path = record.path.partition("?")[0]
        if record.method == "GET" and path.startswith(_LIST):
            return self._instances(path.removeprefix(_LIST), now)
        if record.method == "POST" and path == _INVOKE:
            return self._invoke(record)
        return Problem(404, "Not Found")

    def _instances(self, name: str, now: float) -> dict[str, object] | Problem:
        chute = known(name, self._population)
        if chute is None:
            return Problem(404, "Chute not found")
        if not chute.load.active:
            return Problem(404, "No active instances found for this chute")
        ids = instance_ids(chute.chute_id, chute.load.active)[:INSTANCES]
        return {
            "instances": [self._instance(each, chute.chute_id) for each in ids],
            "nonce_expires_in": LASTS,
            "nonce_expires_at": int(now) + LASTS,
        }

    def _instance(self, instance: str, chute: str) -> dict[str, object]:
        nonces = []
        for _ in range(NONCES):
            self._given += 1
            nonces.append(hashlib.sha256(f"{instance}/{self._given}".encode()).hexdigest()[:32])
        self._nonces.update(dict.fromkeys(nonces, chute))
        return {"instance_id": instance, "e2e_pubkey": e2e_pubkey(instance), "nonces": nonces}

    def _invoke(self, record: Received) -> Problem:
        chute = self._population.find(record.header("x-chute-id") or "")
        if chute is None:
            return Problem(404, "Chute not found")
        if record.header("x-instance-id") not in instance_ids(chute.chute_id, chute.load.active):
            return Problem(404, "Instance not found")
        if self._nonces.pop(record.header("x-e2e-nonce") or "", None) != chute.chute_id:
            return Problem(403, "Invalid, expired, or already-used nonce")
        if not record.body_bytes:
            return Problem(400, "Empty request body")
        return Problem(502, "Instance requires key exchange, try a different instance")
