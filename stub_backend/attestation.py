"""Evidence of single instances, measurements, and Intel's collateral, as private mode asks for."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qs, quote

from stub_backend.auth import unauthorised
from stub_backend.e2e import EndToEnd
from stub_backend.evidence import wrong_nonce
from stub_backend.evidence_bodies import instance_evidence
from stub_backend.evidence_scenarios import LIMITED, answer_json, error_json
from stub_backend.log import Received
from stub_backend.problem import Problem
from stub_backend.scenario import JSON
from stub_backend.sealed.flaws import FLAWS, Making, genuine
from stub_backend.sealed.refusals import NOT_VERIFIED, Stage
from stub_backend.sealed.seals import e2e_pubkey
from stub_backend.sealed.world import Machine, World
from stub_backend.steps import Head, Headers, Send, Steps

MEASUREMENTS = "/servers/tee/measurements"
USUAL_COLLATERAL = "long_until_2036"
_PATH = re.compile(r"/instances/([^/]+)/evidence")
_CRL, _TCB = "/sgx/certification/v4/pckcrl", "/tdx/certification/v4/tcb"
_QE, _ROOT = "/tdx/certification/v4/qe/identity", "/sgx/certification/v4/rootcacrl"
_PAGE = "text/plain"


class Attestation:
    """The answers, which are genuine if there is a world to make them in.

    Without one, evidence is unsigned and there is neither a measurement nor collateral.
    """

    def __init__(
        self, end_to_end: EndToEnd, world: World | None, limited: Callable[[], bool]
    ) -> None:
        self._end_to_end = end_to_end
        self._world = world
        self._limited = limited
        self._collateral = USUAL_COLLATERAL
        self._measured = True

    def behave(self, *, collateral: str = USUAL_COLLATERAL, measurements: bool = True) -> None:
        """Select a set of collateral, and whether there are measurements. Raises ValueError."""
        known = self._world.collateral if self._world else {USUAL_COLLATERAL: {}}
        if collateral not in known:
            raise ValueError(f"unknown collateral: {collateral}")
        self._collateral, self._measured = collateral, measurements

    def reset(self) -> None:
        """Return to genuine answers."""
        self.behave()

    def answer(self, record: Received) -> Steps | None:
        """Return the response to a GET, or None if its path is another."""
        path, _, query = record.path.partition("?")
        asked = _PATH.fullmatch(path)
        if asked is not None:
            nonce = parse_qs(query, keep_blank_values=True).get("nonce", [""])[-1]
            return self._evidence(record, asked[1], nonce)
        if path == MEASUREMENTS:
            rows = self._world.measurements if self._world and self._measured else []
            return answer_json(200, rows)
        return self._intel(path)

    def _evidence(self, record: Received, instance: str, nonce: str) -> Steps:
        problem = unauthorised(record)
        if problem is not None:
            return _error(problem)
        if self._limited():
            return error_json(429, LIMITED)
        wrong = wrong_nonce(nonce)
        if wrong:
            return error_json(400, wrong)
        chute = self._end_to_end.chute_of(instance)
        if chute is None:
            return error_json(404, f"Instance {instance} not found")
        scenario = self._end_to_end.scripts.current(chute)
        if scenario.refusal is not None and scenario.refusal.stage is Stage.EVIDENCE:
            return _error(scenario.refusal.of(instance))
        if not chute.tee:
            return error_json(400, NOT_VERIFIED)
        if self._world is None:
            return answer_json(200, instance_evidence(instance, nonce))
        making = Making(Machine.of(self._world, instance), nonce, e2e_pubkey(instance))
        made = FLAWS[scenario.flaw](making) if scenario.flaw else genuine(making)
        return answer_json(200, {"instance_id": instance} | made)

    def _intel(self, path: str) -> Steps | None:
        if path not in (_CRL, _TCB, _QE, _ROOT):
            return None
        if self._world is None:
            return error_json(404, "Not Found")
        given = self._world.collateral[self._collateral]
        if path == _ROOT:
            return _whole(_PAGE, given["root_ca_crl"].encode(), ())
        if path == _CRL:
            chain = _chain("SGX-PCK-CRL-Issuer-Chain", given["pck_crl_issuer_chain"])
            return _whole("application/pkix-crl", bytes.fromhex(given["pck_crl"]), chain)
        if path == _TCB:
            chain = _chain("TCB-Info-Issuer-Chain", given["tcb_info_issuer_chain"])
            return _whole(
                JSON, _signed("tcbInfo", given["tcb_info"], given["tcb_info_signature"]), chain
            )
        chain = _chain("SGX-Enclave-Identity-Issuer-Chain", given["qe_identity_issuer_chain"])
        signature = given["qe_identity_signature"]
        return _whole(JSON, _signed("enclaveIdentity", given["qe_identity"], signature), chain)


def _signed(member: str, text: str, signature: str) -> bytes:
    """Return a signed answer, whose inner text is as it was signed."""
    return f'{{"{member}":{text},"signature":"{signature}"}}'.encode()


def _chain(name: str, pem: str) -> Headers:
    return ((name, quote(pem)),)


def _whole(content_type: str, body: bytes, headers: Headers) -> Steps:
    own = (("content-type", content_type), ("content-length", str(len(body))))
    return iter((Head(200, own + headers), Send(body)))


def _error(problem: Problem) -> Steps:
    return error_json(problem.status, problem.detail)
