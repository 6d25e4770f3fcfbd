"""The control API `/stub/*`, by which another process inspects and configures the stub."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from stub_backend.attestation import Attestation
from stub_backend.e2e import EndToEnd
from stub_backend.edge import Edge
from stub_backend.evidence import Evidence
from stub_backend.feeds import Feeds
from stub_backend.ledger import Ledger
from stub_backend.log import Log
from stub_backend.prefix_cache import PrefixCache
from stub_backend.scenario import JSON, body_head
from stub_backend.scenarios import SCENARIOS, USUAL
from stub_backend.scripts import Scripts
from stub_backend.sealed.scenarios import USUAL as SEALED_USUAL
from stub_backend.steps import Send, Steps


def control_path(path: str) -> bool:
    """Return whether a path belongs to the control API rather than to the platform."""
    return path.startswith("/stub/")


class Control:
    """The commands, which respond with JSON; an invalid one responds 400 and changes nothing."""

    def __init__(
        self,
        log: Log,
        ledger: Ledger,
        prefixes: PrefixCache,
        feeds: Feeds,
        evidence: Evidence,
        end_to_end: EndToEnd,
        attestation: Attestation,
        scripts: Scripts,
        edge: Edge,
        connections: Callable[[], Mapping[str, int]],
    ) -> None:
        self._log = log
        self._ledger = ledger
        self._prefixes = prefixes
        self._feeds = feeds
        self._evidence = evidence
        self._end_to_end = end_to_end
        self._attestation = attestation
        self._scripts = scripts
        self._edge = edge
        self._connections = connections
        self._commands: Mapping[tuple[str, str], Callable[[Any], object]] = {
            ("GET", "/stub/log"): self._read_log,
            ("GET", "/stub/opened"): lambda _body: self._log.opened,
            ("GET", "/stub/ledger"): lambda _body: self._ledger.as_json(),
            ("GET", "/stub/scenarios"): self._list_scenarios,
            ("GET", "/stub/edge"): lambda _body: self._edge.as_json(),
            ("POST", "/stub/reset"): self._reset,
            ("POST", "/stub/edge"): self._set_edge,
            ("POST", "/stub/feeds"): self._set_feeds,
            ("POST", "/stub/evidence"): self._set_evidence,
            ("POST", "/stub/attestation"): self._set_attestation,
            ("POST", "/stub/sealed"): self._write_sealed_script,
            ("POST", "/stub/scenario"): self._write_script,
        }

    def answer(self, method: str, path: str, body: bytes) -> Steps:
        """Execute one command and return its response."""
        command = self._commands.get((method, path))
        if command is None:
            return _json(404, {"error": f"no such command: {method} {path}"})
        try:
            return _json(200, command(json.loads(body) if body else {}))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return _json(400, {"error": str(error) or repr(error)})

    def reset(self) -> None:
        """Clear log, ledger, caches, scripts and the edge; reset the feeds and the evidence."""
        self._log.clear()
        self._ledger.clear()
        self._prefixes.clear()
        self._scripts.clear()
        self._edge.reset()
        self._evidence.reset()
        self._end_to_end.reset()
        self._attestation.reset()
        self._feeds.behave(models="ok", utilization="ok")

    def _read_log(self, _body: Any) -> object:
        requests = [each.as_json() for each in self._log]
        return {"requests": requests, "connections": dict(self._connections())}

    def _list_scenarios(self, _body: Any) -> object:
        return {each.model: each.summary for each in SCENARIOS.values()}

    def _reset(self, _body: Any) -> object:
        self.reset()
        return {"ok": True}

    def _set_feeds(self, body: Any) -> object:
        self._feeds.behave(**{str(feed): str(mode) for feed, mode in body.items()})
        return {feed: mode.value for feed, mode in self._feeds.modes.items()}

    def _set_edge(self, body: Any) -> object:
        self._edge.behave(int(body["rate"]))
        return {"ok": True}

    def _set_evidence(self, body: Any) -> object:
        self._evidence.behave(str(body["model"]), str(body["scenario"]))
        return {"ok": True}

    def _set_attestation(self, body: Any) -> object:
        self._attestation.behave(**body)
        return {"ok": True}

    def _write_sealed_script(self, body: Any) -> object:
        steps = [str(each) for each in body.get("script", ())]
        then = str(body.get("then", SEALED_USUAL))
        self._end_to_end.scripts.write(str(body["model"]), steps, then)
        return {"ok": True}

    def _write_script(self, body: Any) -> object:
        steps = [str(each) for each in body.get("script", ())]
        self._scripts.write(str(body["model"]), steps, str(body.get("then", USUAL)))
        return {"ok": True}


def _json(status: int, value: object) -> Steps:
    body = json.dumps(value).encode()
    yield body_head(status, JSON, len(body), ())
    yield Send(body)
