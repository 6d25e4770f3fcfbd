"""Requests full of canaries: valid ones, and every kind that is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from autopilot.request.conversation_id import SESSION_FIELDS
from tests.process.secrets.stage import MAX_BODY, Secrets
from tests.unit.relay.upstreams import chunk
from tests.unit.web.browsers import CHAT, request

ALIAS = "chutesai/AutoPilot"
BAD_REQUEST = "bad_request"
TOO_LARGE_HEAD = "request_head_too_large"
_NOTHING: Mapping[str, object] = {}
_TOO_MUCH: Mapping[str, object] = {
    "input": [{"content": [{"type": "input_audio"}, {"type": "video_url"}]}],
    "tools": [{}],
    "response_format": {"type": "json_schema"},
    "max_tokens": 10**9,
}


class Asking:
    """Creates requests with one client's secrets in every part."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def fields(self) -> list[bytes]:
        """Return header fields, each with its own secret."""
        secrets = self._secrets
        texts = (
            f"Authorization: Bearer {secrets.bearer.text}",
            f"X-Api-Key: {secrets.api_key.text}",
            f"Cookie: session={secrets.cookie.text}",
            f"User-Agent: {secrets.agent.text}",
            f"X-Custom-Thing: {secrets.custom.text}",
            f"X-Request-Id: {secrets.request_id.text}",
            f"X-Forwarded-For: {secrets.forwarded.text}",
            f"Forwarded: for={secrets.forwarded.text}",
            f"X-Real-IP: {secrets.forwarded.text}",
        )
        return [text.encode("latin-1") for text in texts]

    def body(
        self, model: object, *, stream: bool = True, also: Mapping[str, object] = _NOTHING
    ) -> bytes:
        """Return a body with a secret in its prompt and in a member's name."""
        secrets = self._secrets
        messages = [
            {"role": "system", "content": secrets.system.text},
            {"role": "user", "content": secrets.prompt.text},
        ]
        value = {"model": model, "stream": stream, "messages": messages, **also}
        return json.dumps({**value, secrets.member.text: secrets.prompt.text}).encode()

    def chat(self, model: object, *also: bytes, stream: bool = True, path: bytes = CHAT) -> bytes:
        """Return a whole chat request."""
        return self.post(self.body(model, stream=stream), *also, path=path)

    def conversations(self, model: object, *also: bytes) -> Iterator[tuple[str, bytes]]:
        """Return requests with each thing that names a conversation, and what it is."""
        session, key = self._secrets.session.text, self._secrets.cache_key.text
        for name in SESSION_FIELDS:
            yield name.decode(), self.chat(model, b"%b: %b" % (name, session.encode()), *also)
        for member in ("prompt_cache_key", "session_id"):
            for value in (key, key * 12, [key]):
                yield member, self.post(self.body(model, also={member: value}), *also)

    def post(self, body: bytes, *also: bytes, path: bytes = CHAT) -> bytes:
        """Return a request with this body."""
        return request(self._target(path), *self.fields(), *also, host=self._host, body=body)

    def get(self, path: bytes, method: bytes = b"GET") -> bytes:
        """Return a request for a page, after which the connection closes."""
        fields = (*self.fields(), b"Connection: close")
        return request(self._target(path), *fields, method=method, host=self._host)

    @property
    def _host(self) -> bytes:
        return self._secrets.host.text.encode()

    def _target(self, path: bytes) -> bytes:
        return path + b"?key=" + self._secrets.query.text.encode()

    # -- refused requests

    def refusals(self) -> Iterator[tuple[bytes, str]]:
        """Return requests with the code of each one's error."""
        unknown, close = self._secrets.model.text, b"Connection: close"
        for body, code in (
            (self.body(ALIAS)[:-3], "invalid_json"),
            (b'{"model": ' + self.body(ALIAS), "invalid_json"),
            (b"\xff" + self.body(ALIAS), "invalid_json"),
            (b"[" + self.body(ALIAS) + b"]", "invalid_body"),
            (self.body(""), "missing_model"),
            (self.body([unknown]), "invalid_model"),
            (self.body(unknown), "unknown_model"),
            (self.body(f"{unknown},{unknown}2,stub/ok"), "unknown_model"),
            (self.body(","), "invalid_model_list"),
            (b'{"models": [1], "user": ' + self.body(ALIAS) + b"}", "invalid_model_list"),
            (
                self.body(",".join(f"{unknown}{number}" for number in range(9))),
                "invalid_model_list",
            ),
            (self.body(ALIAS, also=_TOO_MUCH), "no_capable_model"),
            (self.body("x" * MAX_BODY), "request_too_large"),
        ):
            yield self.post(body, close), code
        prompt = self._secrets.prompt.text.encode()
        for also, code in (
            (b"X-TEE-Only: true", "tee_required"),
            (b"Content-Encoding: gzip", "unsupported_content_encoding"),
            (b"X-Autopilot-Commit: " + self._secrets.custom.text.encode(), "invalid_commit"),
        ):
            yield self.chat("stub/ok", close, also), code
        endless = chunk(prompt * (MAX_BODY // len(prompt) + 1))
        yield self.post(endless, b"Transfer-Encoding: chunked"), "request_too_large"
        yield self.get(b"/" + self._secrets.path.text.encode()), "not_found"
        yield self.get(CHAT), "method_not_allowed"
        yield self.get(b"/status", b"DELETE"), "method_not_allowed"
        yield self.get(b"/v1/models/" + unknown.encode()), "unknown_model"

    def malformed(self) -> Iterator[tuple[bytes, str]]:
        """Return malformed requests with the code of each one's error."""
        good = self.chat("stub/ok")
        head, _, body = good.partition(b"\r\n\r\n")
        secret = self._secrets.custom.text.encode()
        for also, code in (
            (b"Content-Length: 7", BAD_REQUEST),
            (b"Transfer-Encoding: chunked", BAD_REQUEST),
            (b"Transfer-Encoding: " + secret, BAD_REQUEST),
            (b"Expect: " + secret, BAD_REQUEST),
            (b"Host: " + secret, BAD_REQUEST),
            (b"A: b\r\n " + secret, BAD_REQUEST),
            (secret + b" : b", BAD_REQUEST),
            (secret, BAD_REQUEST),
            (b"A: " + secret + b"\0", BAD_REQUEST),
            (b"A: " + secret + b"\rB: c", BAD_REQUEST),
            (b"A: " + secret * 2000, TOO_LARGE_HEAD),
            (b"\r\n".join([b"A: " + secret] * 101), TOO_LARGE_HEAD),
        ):
            yield head + b"\r\n" + also + b"\r\n\r\n" + body, code
        yield good.replace(b"HTTP/1.1", b"HTTP/9.1", 1), BAD_REQUEST
        yield good.replace(b" /v1", b" " + secret + b"/v1", 1), BAD_REQUEST
        yield good.replace(b"POST", secret.upper(), 1), "method_not_allowed"
        yield good.replace(b"Host: ", b"Host: u@", 1), BAD_REQUEST
        yield self.post(b"", b"Transfer-Encoding: chunked") + secret + b"\r\n", BAD_REQUEST

    def unfinished(self) -> Iterator[bytes]:
        """Return truncated requests."""
        good = self.chat("stub/ok")
        head, _, _ = good.partition(b"\r\n\r\n")
        yield head
        yield head + b"\r\nA: "
        yield good[:-5]
        yield self.post(b"5\r\nab", b"Transfer-Encoding: chunked")
