"""Recomputes the stub backend's response to a call from its log.

A response depends on the call alone, so the same code produces the same bytes here. The client's
bytes can thus be compared with what the stub sent, not merely with what looks right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.task import Clock

from stub_backend import Stub
from stub_backend.call import DIALECTS, Call, read_body
from stub_backend.command import parse
from stub_backend.scenarios import scenario_named
from stub_backend.steps import Abort, Close, Hang, Send


class Replay:
    """Recomputes the responses of a stub with these command-line arguments."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._options = parse(arguments)
        self._population = Stub(Clock(), self._options).population

    def body(self, record: dict[str, Any]) -> bytes:
        """Return the response body of a call in the stub's log."""
        scenario = scenario_named(record["scenario"])
        assert scenario is not None
        sent = b""
        for step in scenario.answer(self._call(record)):
            if isinstance(step, Send):
                sent += step.data
            elif isinstance(step, Close | Abort | Hang):
                break
        return sent

    def _call(self, record: dict[str, Any]) -> Call:
        asked = read_body(record["body"].encode())
        chute = self._population.find(record["model"])
        assert isinstance(asked, dict) and chute is not None
        return Call(
            chute=chute,
            dialect=DIALECTS[record["path"]],
            stream=record["stream"],
            body=asked,
            body_sha256=record["body_sha256"],
            headers=tuple((name, value) for name, value in record["headers"]),
            number=record["number"],
            options=self._options,
            engine=chute.engine or "sglang",
        )
