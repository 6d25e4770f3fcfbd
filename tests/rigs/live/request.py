"""A request as a value, which can be sent to the platform and to the stub alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

CHAT = "/v1/chat/completions"
MAX_TOKENS = 8
_FIELDS: Mapping[str, str] = {"/v1/responses": "max_output_tokens"}


class Host(StrEnum):
    """The host to which a request is sent."""

    LLM = "llm"
    API = "api"
    MESSAGES = "messages"
    RESPONSES = "responses"
    INTEL = "intel"
    ROUTER = "router"


class Auth(StrEnum):
    """The kind of credentials."""

    KEY = "key"
    NONE = "none"
    WRONG = "wrong"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    OTHER_SCHEME = "another scheme"
    API_KEY = "x-api-key alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRequest:
    """A request. `path` may have placeholders, which `fill` replaces; a capture shows them."""

    host: Host = Host.LLM
    method: str = "POST"
    path: str = CHAT
    fill: Mapping[str, str] = field(default_factory=dict)
    auth: Auth = Auth.KEY
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    content_type: str = "application/json"
    compressed: bool = False

    @property
    def target(self) -> str:
        """The path and query to send."""
        return self.path.format(**self.fill)

    def as_json(self) -> dict[str, Any]:
        """Return the request for a capture, without values of the body and without ids."""
        return {
            "host": self.host.value,
            "method": self.method,
            "path": self.path,
            "auth": self.auth.value,
            "headers": [name for name, _ in self.headers],
            "body_bytes": len(self.body),
        }


def tiny(model: Any, *, path: str = CHAT, stream: bool | None = False, **members: Any) -> bytes:
    """Return a request for a few tokens.

    It is the same at each call, because the platform bills repeated requests less.
    """
    body: dict[str, Any] = {"model": model}
    if path == "/v1/completions":
        body["prompt"] = "Say OK."
    elif path == "/v1/responses":
        body["input"] = "Say OK."
    else:
        body["messages"] = [{"role": "user", "content": "Say OK."}]
    body[_FIELDS.get(path, "max_tokens")] = MAX_TOKENS
    body["stream"] = stream
    return json.dumps(body | members).encode()
