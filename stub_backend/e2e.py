"""The endpoints `/e2e/*` of end-to-end encrypted calls.

They list instances, issue nonces, and open the calls that instances answer.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey

from stub_backend.auth import unauthorised
from stub_backend.evidence_bodies import instance_ids
from stub_backend.log import Received
from stub_backend.native import known
from stub_backend.population import Chute, Population
from stub_backend.problem import Problem
from stub_backend.sealed.nonces import STATED_SECONDS, Nonces, Purpose
from stub_backend.sealed.refusals import (
    EMPTY,
    INVALID_NONCE,
    UNOPENED,
    Refusal,
    Stage,
    missing_header,
)
from stub_backend.sealed.replies import FAILED, INSTANCE_STATUS
from stub_backend.sealed.scenarios import SEALED_SCENARIOS, USUAL, SealedScenario, SealedScripts
from stub_backend.sealed.seals import UnopenedError, e2e_pubkey, instance_key, open_request

PREFIX = "/e2e/"
INSTANCES = 5
PATHS = frozenset({"/v1/chat/completions", "/v1/completions"})
_LIST = PREFIX + "instances/"
_INVOKE = PREFIX + "invoke"
_REQUIRED = ("X-Chute-Id", "X-Instance-Id", "X-E2E-Nonce")


@dataclass(frozen=True, slots=True)
class SealedCall:
    """A call that its instance has opened.

    The gateway streams if the header says so, the instance if the body does.
    """

    chute: Chute
    scenario: SealedScenario
    path: str
    body: dict[str, object]
    response_key: MLKEM768PublicKey
    gateway_streams: bool
    instance_streams: bool


class EndToEnd:
    """The instances of one population, and the nonces of all callers."""

    def __init__(self, population: Population, seed: int) -> None:
        self._population = population
        self._chance = random.Random(seed)
        self._nonces = Nonces()
        self._gone: set[str] = set()
        self.scripts = SealedScripts()

    def reset(self) -> None:
        """Forget all nonces and scripts, and bring back the instances that vanished."""
        self._nonces.clear()
        self._gone.clear()
        self.scripts.clear()

    def answer(
        self, record: Received, body: bytes, now: float
    ) -> dict[str, object] | SealedCall | Problem:
        """Return the JSON of one call below `PREFIX`, the sealed call of a model, or the error."""
        problem = unauthorised(record)
        if problem is not None:
            return problem
        path = record.path.partition("?")[0]
        if record.method == "GET" and path.startswith(_LIST):
            return self._instances(path.removeprefix(_LIST), _user(record), now)
        if record.method == "POST" and path == _INVOKE:
            return self._invoke(record, body, now)
        return Problem(404, "Not Found")

    def _instances(self, name: str, user: str, now: float) -> dict[str, object] | Problem:
        chute = known(name, self._population)
        if chute is None:
            return Problem(404, "Chute not found")
        if not chute.load.active:
            return Problem(404, "No active instances found for this chute")
        refusal = _refusal(self.scripts.current(chute), Stage.DISCOVERY)
        if refusal is not None:
            self.scripts.take(chute)
            return refusal.problem
        ids = self._ids(chute)
        chosen = self._chance.sample(ids, min(INSTANCES, len(ids)))
        purposes = [Purpose(user, chute.chute_id, each) for each in chosen]
        return {
            "instances": [self._instance(each, now) for each in purposes],
            "nonce_expires_in": STATED_SECONDS,
            "nonce_expires_at": int(now) + STATED_SECONDS,
        }

    def _instance(self, purpose: Purpose, now: float) -> dict[str, object]:
        key = e2e_pubkey(purpose.instance)
        nonces = self._nonces.issue(purpose, now)
        return {"instance_id": purpose.instance, "e2e_pubkey": key, "nonces": nonces}

    def chute_of(self, instance: str) -> Chute | None:
        """Return the chute of an instance."""
        chat = self._population.chat
        return next((each for each in chat if instance in self._ids(each)), None)

    def _ids(self, chute: Chute) -> list[str]:
        ids = instance_ids(chute.chute_id, chute.load.active)
        return [each for each in ids if each not in self._gone]

    def _invoke(self, record: Received, body: bytes, now: float) -> SealedCall | Problem:
        chute = self._population.find(record.header("x-chute-id") or "")
        scenario = SEALED_SCENARIOS[USUAL] if chute is None else self.scripts.take(chute)
        refusal = _refusal(scenario, Stage.INVOKE)
        if refusal is not None and refusal.spares_nonce:
            return refusal.problem
        missing = [each for each in _REQUIRED if record.header(each) is None]
        if missing:
            return Problem(422, [missing_header(each) for each in missing])
        chute_id, instance, nonce = (record.header(each) or "" for each in _REQUIRED)
        # The nonce is used up first, whatever fails afterwards.
        if not self._nonces.consume(nonce, Purpose(_user(record), chute_id, instance), now):
            return Problem(403, INVALID_NONCE)
        if chute is None:
            return Problem(404, "Chute not found")
        if scenario.vanishes:
            self._gone.add(instance)
        if instance not in self._ids(chute):
            return Problem(404, "Instance not found")
        if refusal is not None and not (refusal.plain_only and _streams(record)):
            return refusal.problem
        if not body:
            return Problem(400, EMPTY)
        return _opened(record, body, chute, instance, scenario)


def _opened(
    record: Received, body: bytes, chute: Chute, instance: str, scenario: SealedScenario
) -> SealedCall | Problem:
    """Open a call as its instance does."""
    try:
        opened = open_request(body, instance_key(instance, int(scenario.key_changed)))
    except UnopenedError:
        return Problem(400, UNOPENED)
    path = record.header("x-e2e-path") or "/"
    if path not in PATHS:
        return Problem(403, INSTANCE_STATUS.format(403))
    if opened.body.get("model") != chute.name:
        return Problem(404, INSTANCE_STATUS.format(404))
    streams = bool(opened.body.get("stream"))
    if streams and not _streams(record):
        return Problem(500, FAILED)
    if streams:
        given = opened.body.get("stream_options")
        usage = {"include_usage": True, "continuous_usage_stats": True}
        opened.body["stream_options"] = (given if isinstance(given, dict) else {}) | usage
    return SealedCall(
        chute, scenario, path, opened.body, opened.response_key, _streams(record), streams
    )


def _streams(record: Received) -> bool:
    """Return whether the gateway streams."""
    return (record.header("x-e2e-stream") or "").lower() == "true"


def _user(record: Received) -> str:
    return record.header("authorization") or record.header("x-chutes-hotkey") or ""


def _refusal(scenario: SealedScenario, stage: Stage) -> Refusal | None:
    refusal = scenario.refusal
    return refusal if refusal is not None and refusal.stage is stage else None
