"""Sessions of coding agents, made from the shapes in ``tests/data/sessions``."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autopilot.http.dialect import Dialect
from autopilot.http.headers import Field

_FOLDER = Path(__file__).parents[2] / "data" / "sessions"
CLIENTS = ("claude_code", "codex", "opencode")


def shape(client: str) -> dict[str, Any]:
    """Return the shape of a client's session."""
    found: dict[str, Any] = json.loads((_FOLDER / f"{client}.json").read_text())
    return found


def _filled(value: Any, facts: dict[str, str]) -> Any:
    """Return a shape with its placeholders filled in, at any depth."""
    if isinstance(value, str):
        for name, text in facts.items():
            value = value.replace(f"{{{name}}}", text)
        return value
    if isinstance(value, list):
        return [_filled(each, facts) for each in value]
    if isinstance(value, dict):
        return {name: _filled(each, facts) for name, each in value.items()}
    return value


@dataclass(frozen=True)
class Session:
    """One agent's session.

    ``named``: its requests name it, as they do unless another program strips what does; ``agent``
    and ``parent`` are set for a subagent.
    """

    shape: dict[str, Any]
    session: str
    task: str
    model: str
    named: bool = True
    agent: str | None = None
    parent: str = ""

    @property
    def dialect(self) -> Dialect:
        """The API that the client speaks."""
        return Dialect[self.shape["dialect"].upper()]

    @property
    def path(self) -> bytes:
        """The path that it asks."""
        path: str = self.shape["path"]
        return path.encode()

    @property
    def nameless(self) -> Session:
        """The same session, with nothing that names it."""
        return replace(self, named=False)

    def subagent(self, agent: str) -> Session:
        """Return a subagent's session, under its parent's id or one of its own."""
        together = self.shape["subagents"]["together"]
        return replace(
            self,
            session=self.session if together else f"{self.session}-{agent}",
            task=f"{self.task}, {agent}",
            agent=agent,
            parent=self.session,
        )

    @property
    def fields(self) -> list[Field]:
        """The header fields of each request."""
        pairs = [*self.shape["fields"]]
        if self.named:
            pairs += self.shape["session_fields"]
        if self.agent is not None:
            pairs += self.shape["subagents"]["fields"]
        return [(name.encode(), _filled(value, self._facts).encode()) for name, value in pairs]

    def body(self, turn: int) -> bytes:
        """Return the body of a turn's request, the first of which is 0."""
        shape = self.shape
        talk = _filled(shape["opening"], self._facts)
        for number in range(turn):
            talk += _filled(shape["turn"], {**self._facts, "turn": str(number)})
        if "cache_mark" in shape:
            talk = copy.deepcopy(talk)
            talk[-1]["content"][-1]["cache_control"] = shape["cache_mark"]
        members = {**shape["body"], **(shape["session_members"] if self.named else {})}
        body = {**_filled(members, self._facts), shape["list"]: talk}
        if not self.named:
            body.pop("metadata", None)
        return json.dumps(body).encode()

    @property
    def _facts(self) -> dict[str, str]:
        return {
            "session": self.session,
            "task": self.task,
            "model": self.model,
            "agent": self.agent or "",
            "parent": self.parent,
        }
