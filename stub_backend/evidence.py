"""The endpoint `GET /chutes/{id or name}/evidence`: its checks, its limit and its responses."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote

from twisted.internet.interfaces import IReactorTime

from stub_backend.evidence_scenarios import (
    EVIDENCE_SCENARIOS,
    EXTERNAL,
    LIMITED,
    NOT_TEE,
    NOT_YOURS,
    USUAL_EVIDENCE,
    EvidenceScenario,
    answer_json,
    error_json,
)
from stub_backend.population import PRIVATE, Chute, Population
from stub_backend.steps import Steps

PER_MINUTE = 60
_PATH = re.compile(r"/chutes/(.+)/evidence")
_MISSING = {"type": "missing", "loc": ["query", "nonce"], "msg": "Field required", "input": None}
_MISSING_AT_EDGE = "$.query.nonce: required parameter missing"


class Evidence:
    """The evidence of one population, with one rate limit shared by all callers."""

    def __init__(self, clock: IReactorTime, population: Population) -> None:
        self._clock = clock
        self._population = population
        self._chosen: dict[str, str] = {}
        self._minute = -1
        self._asked = 0

    def behave(self, model: str, scenario: str) -> None:
        """Select another scenario for a model's evidence. Raises ValueError."""
        if scenario not in EVIDENCE_SCENARIOS:
            raise ValueError(f"unknown evidence scenario: {scenario}")
        self._chosen[model] = scenario

    def reset(self) -> None:
        """Return every model to the scenario of its name."""
        self._chosen.clear()

    def answer(self, target: str) -> Steps | None:
        """Return the response to a GET of this target, or None if its path is another."""
        path, _, query = target.partition("?")
        asked = _PATH.fullmatch(path)
        if asked is None:
            return None
        if self.limited():
            return error_json(429, LIMITED)
        chute = self._find(unquote(asked[1]))
        given = parse_qs(query, keep_blank_values=True).get("nonce")
        if given is None:
            if chute is not None and self._scenario(chute).edge:
                return answer_json(400, {"error": _MISSING_AT_EDGE})
            return error_json(422, [_MISSING])
        wrong = wrong_nonce(given[-1])
        if wrong:
            return error_json(400, wrong)
        if chute is None:
            return error_json(404, "Chute not found")
        return self._evidence(chute, given[-1])

    def _evidence(self, chute: Chute, nonce: str) -> Steps:
        if chute.name == PRIVATE:
            return error_json(404, NOT_YOURS)
        if chute.external:
            return error_json(400, EXTERNAL)
        if not chute.tee:
            return error_json(400, NOT_TEE.format(id=chute.chute_id))
        return self._scenario(chute).answer(chute, nonce)

    def _find(self, wanted: str) -> Chute | None:
        """Return the chute of any kind with this name or id."""
        found = self._population.find(wanted)
        if found is not None or wanted == PRIVATE:
            return found
        everyone = self._population.everyone()
        return next((each for each in everyone if wanted in (each.name, each.chute_id)), None)

    def _scenario(self, chute: Chute) -> EvidenceScenario:
        name = self._chosen.get(chute.name, chute.evidence or USUAL_EVIDENCE)
        return EVIDENCE_SCENARIOS[name]

    def limited(self) -> bool:
        """Count this request, and return whether it exceeds the limit of its minute."""
        minute = int(self._clock.seconds() // 60)
        if minute != self._minute:
            self._minute, self._asked = minute, 0
        self._asked += 1
        return self._asked > PER_MINUTE


def wrong_nonce(nonce: str) -> str | None:
    """Return the platform's error for an invalid nonce, or None."""
    if not nonce:
        return "Nonce is required"
    if len(nonce) != 64:
        return f"Nonce must be exactly 64 hex characters (32 bytes), got {len(nonce)}"
    if not re.fullmatch(r"[0-9a-fA-F]{64}", nonce):
        return "Nonce must be a valid hexadecimal string"
    return None
