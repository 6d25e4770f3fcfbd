"""A platform of the synthetic world: discovery, evidence, measurements, and Intel's service."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from twisted.web.http import Request
from twisted.web.resource import Resource

from autopilot.http.fetch import FetchedResponse
from tests.unit.attestation import world

CHUTE: str = world.world()["chute_id"]
INSTANCES: dict[str, str] = world.world()["instance_ids"]
MODEL = "vendor/Model-A-TEE"

Answer = tuple[int, bytes, dict[str, str]]


def intel(path: str, collateral: dict[str, str]) -> Answer | None:
    """Return what Intel's service answers to a path, with this collateral; None to others."""
    if path.endswith("/pckcrl"):
        chain = {"SGX-PCK-CRL-Issuer-Chain": quote(collateral["pck_crl_issuer_chain"])}
        return 200, bytes.fromhex(collateral["pck_crl"]), chain
    if path.endswith("/tcb"):
        body = _signed("tcbInfo", collateral["tcb_info"], collateral["tcb_info_signature"])
        return 200, body, {"TCB-Info-Issuer-Chain": quote(collateral["tcb_info_issuer_chain"])}
    if path.endswith("/qe/identity"):
        text, signature = collateral["qe_identity"], collateral["qe_identity_signature"]
        chain = {"SGX-Enclave-Identity-Issuer-Chain": quote(collateral["qe_identity_issuer_chain"])}
        return 200, _signed("enclaveIdentity", text, signature), chain
    if path.endswith("/rootcacrl"):
        return 200, collateral["root_ca_crl"].upper().encode(), {}
    return None


def _signed(member: str, text: str, signature: str) -> bytes:
    """Return a signed text as it is: its bytes must not change."""
    return f'{{"{member}":{text},"signature":"{signature}"}}'.encode()


class Platform(Resource):
    """Answers every path; ``log`` has the paths, and ``keys`` the authorization of each."""

    isLeaf = True

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names or ("A", "B")
        self.collateral: dict[str, str] = world.world()["collateral"]["fixed_30_days"]
        self.measurements = json.dumps(world.world()["measurements"]).encode()
        self.evidence: Callable[[str, str], Answer] = self.genuine
        self.answers: dict[str, Answer] = {}
        self.log: list[str] = []
        self.keys: list[str | None] = []

    def render(self, request: Request) -> bytes:
        """Answer with what `answers` has for the path, else with what is genuine."""
        path = request.path.decode()
        self.log.append(path)
        self.keys.append(request.getHeader("authorization"))
        status, body, headers = self.answers.get(path) or self._answer(path, request)
        request.setResponseCode(status)
        for name, value in headers.items():
            request.responseHeaders.addRawHeader(name, value)
        return body

    def genuine(self, name: str, nonce: str) -> Answer:
        """Return the genuine evidence of an instance."""
        return 200, json.dumps(world.make(nonce, name)).encode(), {}

    def discovery(self) -> dict[str, Any]:
        """Return the instances, each with two nonces."""
        listed = [
            {
                "instance_id": INSTANCES[name],
                "e2e_pubkey": world.key(name),
                "nonces": [f"nonce-{name}-{place}" for place in range(2)],
            }
            for name in self.names
        ]
        return {"instances": listed, "nonce_expires_in": 60, "nonce_expires_at": 1}

    def _answer(self, path: str, request: Request) -> Answer:
        if path.endswith("/models"):
            model = {"id": MODEL, "chute_id": CHUTE, "confidential_compute": True}
            return 200, json.dumps({"object": "list", "data": [model]}).encode(), {}
        if path == f"/e2e/instances/{CHUTE}":
            return 200, json.dumps(self.discovery()).encode(), {}
        if path == "/servers/tee/measurements":
            return 200, self.measurements, {}
        for name, instance in INSTANCES.items():
            if path == f"/instances/{instance}/evidence":
                return self.evidence(name, request.args[b"nonce"][0].decode())
        return intel(path, self.collateral) or (404, b"{}", {})


def fetched(answer: Answer | None) -> FetchedResponse:
    """Return an answer as the router fetches it."""
    assert answer is not None
    response = FetchedResponse(*answer[:2])
    for name, value in answer[2].items():
        response.headers.addRawHeader(name, value)
    return response
