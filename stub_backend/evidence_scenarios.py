"""The table of evidence scenarios, from which help, catalog entries and tests are generated.

A model named after a scenario is an ordinary chat model that runs in a TEE; the scenario affects
only the response to a request for its evidence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from stub_backend.answers.pages import front_end_page
from stub_backend.evidence_bodies import (
    ATTRIBUTES,
    DEBUG,
    PERFMON,
    Form,
    body,
    instance_evidence,
    instance_ids,
)
from stub_backend.population import SCENARIO_LOAD, Chute, chute_uuid
from stub_backend.scenario import HTML, JSON, PREFIX, TEXT_PLAIN, body_head
from stub_backend.steps import Close, Hang, Send, Steps

EVIDENCE = "evidence-"
USUAL_EVIDENCE = "ok"
_OLD_NONCE = "0" * 63 + "1"

Answer = Callable[[Chute, str], Steps]


@dataclass(frozen=True, slots=True)
class EvidenceScenario:
    """One row of the table. `status` is the response's, None if none arrives.

    `edge` simulates a platform whose edge validates the query before the API does.
    """

    name: str
    summary: str
    answer: Answer
    status: int | None = 200
    edge: bool = False

    @property
    def model(self) -> str:
        """The model name that selects it."""
        return PREFIX + EVIDENCE + self.name


def error_json(status: int, detail: object) -> Steps:
    """Return an error response of the API."""
    return answer_json(status, {"detail": detail})


def answer_json(status: int, value: object) -> Steps:
    """Return a JSON response."""
    return _whole(status, JSON, json.dumps(value).encode())


def _whole(status: int, content_type: str, content: bytes) -> Steps:
    yield body_head(status, content_type, len(content), ())
    yield Send(content)


def _ids(chute: Chute) -> list[str]:
    return instance_ids(chute.chute_id, chute.load.active)


def _good(chute: Chute, nonce: str) -> Steps:
    return answer_json(200, body([instance_evidence(each, nonce) for each in _ids(chute)], []))


def _partial(chute: Chute, nonce: str) -> Steps:
    first, *rest = _ids(chute)
    return answer_json(200, body([instance_evidence(each, nonce) for each in rest], [first]))


def _all_failed(chute: Chute, _nonce: str) -> Steps:
    return answer_json(200, body([], _ids(chute)))


def _empty(_chute: Chute, _nonce: str) -> Steps:
    return answer_json(200, body([], []))


def _formed(form: Form) -> Answer:
    """Return evidence whose first quote has this form."""

    def answer(chute: Chute, nonce: str) -> Steps:
        odd, *usual = _ids(chute)
        evidence = [instance_evidence(odd, nonce, form)]
        evidence += [instance_evidence(each, nonce) for each in usual]
        return answer_json(200, body(evidence, []))

    return answer


def _changed(**changes: Any) -> Answer:
    """Return evidence whose first instance has these members changed; `...` removes one."""

    def answer(chute: Chute, nonce: str) -> Steps:
        evidence = [instance_evidence(each, nonce) for each in _ids(chute)]
        first = evidence[0] | changes
        evidence[0] = {name: value for name, value in first.items() if value is not ...}
        return answer_json(200, body(evidence, []))

    return answer


def _error(status: int, detail: str) -> Answer:
    return lambda chute, _nonce: error_json(status, detail.format(id=chute.chute_id))


def _page(status: int, content_type: str, content: bytes) -> Answer:
    return lambda _chute, _nonce: _whole(status, content_type, content)


def _cut(chute: Chute, nonce: str) -> Steps:
    for step in _good(chute, nonce):
        yield Send(step.data[: len(step.data) // 2]) if isinstance(step, Send) else step
    yield Close()


def _hang(_chute: Chute, _nonce: str) -> Steps:
    yield Hang()


OUTDATED = "Instances requires chutes_version >= 0.6.0 to retrieve evidence."
NOT_TEE = "Chute {id} is not TEE-enabled"
EXTERNAL = "TEE evidence is unavailable for this execution backend."
LIMITED = "Rate limit exceeded. Try again later."
NOT_YOURS = "Chute not found, or does not belong to you"
_PROXY_DOWN = (
    "Attestation service unavailable. The attestation proxy could not be reached or returned an "
    "error."
)
_BAD_GATEWAY = front_end_page(502, "Server Error", "The server had a bad answer.")
_LATER = replace(Form(), nonce=_OLD_NONCE)

_ROWS = (
    EvidenceScenario("ok", "evidence of every instance", _good),
    EvidenceScenario("partial", "one instance failed", _partial),
    EvidenceScenario("all-failed", "every instance failed, and still 200", _all_failed),
    EvidenceScenario("empty", "no instance at all, and still 200", _empty),
    EvidenceScenario(
        "older-build", "members are missing", _changed(signature=..., attested_body=...)
    ),
    EvidenceScenario("no-id", "an instance id is null", _changed(instance_id=None)),
    EvidenceScenario(
        "signed",
        "members that only newer builds set",
        _changed(signature="c3R1Yg==", attested_body="e30=", extra=1),
    ),
    EvidenceScenario(
        "no-certificate", "an instance sends no TLS certificate", _changed(certificate=None)
    ),
    EvidenceScenario("no-gpus", "an instance sends no GPU evidence", _changed(gpu_evidence=[])),
    EvidenceScenario("bad-base64", "a quote is not base64", _changed(quote="not base64!")),
    EvidenceScenario(
        "bad-gpus",
        "GPU evidence is not base64",
        _changed(gpu_evidence=[{"certificate": "%", "evidence": "", "arch": "HOPPER"}]),
    ),
    EvidenceScenario("no-quote", "an instance sends no quote", _changed(quote=None)),
    EvidenceScenario("short-quote", "a quote ends in the middle", _formed(Form(size=600))),
    EvidenceScenario("quote-v5", "a quote of another version", _formed(Form(version=5))),
    EvidenceScenario("sgx-quote", "a quote of another kind of enclave", _formed(Form(tee_type=0))),
    EvidenceScenario(
        "debug", "a quote of a debug domain", _formed(Form(attributes=ATTRIBUTES | DEBUG))
    ),
    EvidenceScenario(
        "attributes",
        "a quote of a domain whose performance the host may count",
        _formed(Form(attributes=ATTRIBUTES | PERFMON)),
    ),
    EvidenceScenario(
        "other-key", "a quote names the key of another certificate", _formed(Form(other_key=True))
    ),
    EvidenceScenario(
        "other-nonce", "a quote is made for another nonce, the same each time", _formed(_LATER)
    ),
    EvidenceScenario("edge-nonce", "valid, but the edge rejects a missing nonce", _good, edge=True),
    EvidenceScenario(
        "400-outdated", "instances too old to provide evidence", _error(400, OUTDATED), 400
    ),
    EvidenceScenario(
        "400-not-tee", "not TEE-enabled, whatever the catalog says", _error(400, NOT_TEE), 400
    ),
    EvidenceScenario("400-external", "runs on an external backend", _error(400, EXTERNAL), 400),
    EvidenceScenario("404-chute", "no such chute", _error(404, "Chute not found"), 404),
    EvidenceScenario("404-private", "no such chute for this caller", _error(404, NOT_YOURS), 404),
    EvidenceScenario(
        "404-id", "no such chute, naming its id", _error(404, "Chute {id} not found"), 404
    ),
    EvidenceScenario("429", "the limit that all callers share", _error(429, LIMITED), 429),
    EvidenceScenario(
        "500", "an error with a detail", _error(500, "Unexpected attestation error"), 500
    ),
    EvidenceScenario(
        "500-text",
        "an error from outside the API",
        _page(500, TEXT_PLAIN, b"Internal Server Error"),
        500,
    ),
    EvidenceScenario("502", "the attestation service is down", _error(502, _PROXY_DOWN), 502),
    EvidenceScenario("502-html", "the edge got no response", _page(502, HTML, _BAD_GATEWAY), 502),
    EvidenceScenario("garbage", "200 with HTML", _page(200, HTML, b"<html>busy</html>")),
    EvidenceScenario("cut", "the response breaks off", _cut),
    EvidenceScenario("hang", "never a response", _hang, None),
)
EVIDENCE_SCENARIOS: Mapping[str, EvidenceScenario] = {each.name: each for each in _ROWS}


def evidence_chutes() -> tuple[Chute, ...]:
    """Return a TEE chat model with three instances for each scenario, ranked last."""
    return tuple(
        Chute(
            name=each.model,
            chute_id=chute_uuid(each.model),
            engine="sglang",
            tee=True,
            evidence=each.name,
            load=replace(SCENARIO_LOAD, active=3, target=3),
        )
        for each in EVIDENCE_SCENARIOS.values()
    )
