"""Encrypted calls of a stub in memory, sealed and opened as the router does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from twisted.internet.task import Clock

from autopilot.attestation.sealed_stream import StreamOpener
from autopilot.attestation.sealing import InstanceKey, ResponseKey, seal
from stub_backend import Stub, StubOptions
from tests.stub_backend.exchange import Answer, Exchange

KEY = {"authorization": "Bearer cpk_a.b.c"}
SEALED = StubOptions(
    models=0,
    other_chutes=0,
    private_chutes=0,
    scenario_models=False,
    sealed_models=True,
    tokens=6,
    token_delay=0.0,
)


@dataclass(frozen=True, slots=True)
class Called:
    """A response, and the key for it."""

    answer: Answer
    key: ResponseKey

    def opened(self) -> tuple[bytes, StreamOpener]:
        """Return what a stream told, and its state at its end."""
        opener = StreamOpener(self.key)
        plain = opener.feed(self.answer.body)
        opener.end()
        return plain, opener


class Caller:
    """A caller of one model."""

    def __init__(self, model: str, options: StubOptions = SEALED) -> None:
        self._exchange = Exchange(options)
        chute = self.stub.population.find(model)
        assert chute is not None
        self.chute = chute
        self.key: dict[str, str] = KEY

    @property
    def stub(self) -> Stub:
        """The stub."""
        return self._exchange.stub

    @property
    def clock(self) -> Clock:
        """The stub's clock."""
        return self._exchange.clock

    def get(self, path: str) -> Answer:
        """Send a request without a body."""
        self._exchange.send("GET", path, headers=self.key)
        self._exchange.run()
        return self._received()

    def then(self, scenario: str) -> None:
        """Select the scenario of all later calls."""
        self.stub.end_to_end.scripts.write(self.chute.name, (), scenario)

    def discover(self) -> Answer:
        """Ask for instances."""
        return self.get(f"/e2e/instances/{self.chute.chute_id}")

    def instance(self) -> dict[str, Any]:
        """Return one instance."""
        found: dict[str, Any] = self.discover().json()["instances"][0]
        return found

    def call(self, instance: dict[str, Any] | None = None, *, stream: bool = False) -> Called:
        """Call an instance with its next nonce."""
        key = self._start(instance, stream=stream)
        return Called(self._received(), key)

    def wire(self, *, stream: bool) -> bytes:
        """Call an instance, and return all that it sends, even if it is no response."""
        self._start(None, stream=stream)
        sent: bytes = self._exchange.transport.value()
        return sent

    def _start(self, instance: dict[str, Any] | None, *, stream: bool) -> ResponseKey:
        chosen = instance or self.instance()
        body = {"model": self.chute.name, "stream": stream, "messages": []}
        sent = seal(json.dumps(body).encode(), InstanceKey(chosen["e2e_pubkey"]))
        headers = self.key | {
            "x-chute-id": self.chute.chute_id,
            "x-instance-id": chosen["instance_id"],
            "x-e2e-nonce": chosen["nonces"].pop(0),
            "x-e2e-stream": str(stream).lower(),
            "x-e2e-path": "/v1/chat/completions",
        }
        self._exchange.send("POST", "/e2e/invoke", sent.blob, headers)
        self._exchange.run()
        return sent.response_key

    def _received(self) -> Answer:
        answer = self._exchange.answer()
        assert answer is not None
        return answer
