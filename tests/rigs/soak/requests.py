"""The requests of a client, as bytes, and the errors that invalid ones must receive."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.rigs.soak.generation import Generation, filling, nonce

ALIAS: Final = "chutesai/AutoPilot"
MODELS: Final = tuple(f"acme/soak-{number}" for number in range(10))
MAX_BODY: Final = 1_000_000
PATH: Final = "/v1/chat/completions"
_TOKENS: Final = 300
_MOST: Final = 1_000_000
"""The maximum number of requests per client."""


@dataclass(frozen=True, slots=True)
class ExpectedError:
    """The router's error for an invalid request; `recorded`: the router always logs a record.

    Of requests that it refuses at their head it logs those of the first ones in each minute.
    """

    status: int
    code: str
    recorded: bool = True


@dataclass(frozen=True, slots=True)
class SoakRequest:
    """One request. `candidates` are the models that may receive it.

    `padding` is the size of filler in the body; `tokens` and `width` set the size of the response.
    `slow_client`: the client reads so slowly that the router may abort the response.
    """

    nonce: str
    selector: str
    candidates: tuple[str, ...]
    stream: bool
    padding: int = 100
    tokens: int = 8
    width: int = 12
    commit: str = ""
    chunked: bool = False
    model_last: bool = False
    closing: bool = False
    client: int = 0
    slow_client: bool = False
    raw_body: bytes = b""
    fields: tuple[str, ...] = ()
    refused: ExpectedError | None = None

    @property
    def direct(self) -> bool:
        """Whether the request names exactly one model."""
        return self.selector in MODELS

    def generation(self, model: str) -> Generation:
        """Return a model's response to the request."""
        return Generation(self.nonce, model, self.tokens, self.width)

    def body(self, model: str) -> bytes:
        """Return the body with this `model`: as sent by the client, or as expected upstream."""
        if self.raw_body:
            return self.raw_body
        text = f"caf\u00e9 {filling(Random(self.nonce), self.padding)}"
        name = f'"model" : {json.dumps(model)}'
        members = (
            f'"user":"{self.nonce}", "temperature": 1.0 ,"seed":1180591620717411303424',
            f'"stream":{json.dumps(self.stream)}',
            f'"messages":[{{"role":"user","content":"{text}"}}]',
        )
        ordered = (*members, name) if self.model_last else (name, *members)
        return f"{{{','.join(ordered)}}}".encode()

    def encode(self) -> bytes:
        """Return the whole request as bytes."""
        body = self.body(self.selector)
        lines = [
            f"POST {PATH} HTTP/1.1",
            "Host: soak.test",
            "Content-Type: application/json",
            f"Authorization: Bearer soak-client-{self.client}",
            f"X-Request-ID: {self.nonce}",
            *self.fields,
        ]
        if self.commit:
            lines.append(f"X-Autopilot-Commit: {self.commit}")
        if self.closing:
            lines.append("Connection: close")
        lines.append(
            "Transfer-Encoding: chunked" if self.chunked else f"Content-Length: {len(body)}"
        )
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + (_chunks(body) if self.chunked else body)


def _chunks(body: bytes, size: int = 9_000) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces) + b"0\r\n\r\n"


class RequestGenerator:
    """Generates the requests of one client, which depend on `seed` and its number alone."""

    def __init__(self, seed: int, client: int = 0) -> None:
        self._seed = seed
        self._rng = Random(f"asks/{seed}/{client}")
        self._first = client * _MOST
        self.made = 0

    def next(
        self, *, slow_client: int = 0, small: bool = False, closing: bool = False
    ) -> SoakRequest:
        """Return a valid request; for a slow client, with a response of that many bytes."""
        rng = self._rng
        selector, candidates = self._selector()
        tokens, width = self._length(slow_client=slow_client, small=small)
        return SoakRequest(
            self._nonce(),
            selector,
            candidates,
            rng.random() < 0.55,
            100 if small else rng.choices((100, 3_000, 60_000, 700_000), (70, 20, 8, 2))[0],
            tokens,
            width,
            rng.choices(("", "byte", "content", "complete"), (80, 7, 3, 10))[0],
            rng.random() < 0.1,
            rng.random() < 0.3,
            closing,
            rng.randrange(_TOKENS),
            bool(slow_client),
        )

    def wrong(self) -> SoakRequest:
        """Return a request that the router must refuse."""
        kinds = (
            ({"raw_body": b'{"model":'}, ExpectedError(400, "invalid_json")),
            ({"raw_body": b'{"stream":true}'}, ExpectedError(400, "missing_model")),
            ({"raw_body": b"[]"}, ExpectedError(400, "invalid_body")),
            ({"selector": "acme/nobody"}, ExpectedError(400, "unknown_model")),
            ({"selector": ",".join(f"acme/{n}" for n in range(9))}, _LIST),
            ({"selector": " , ,"}, _LIST),
            (
                {"fields": ("Content-Encoding: gzip",)},
                ExpectedError(415, "unsupported_content_encoding", recorded=False),
            ),
            ({"commit": "never"}, ExpectedError(400, "invalid_commit", recorded=False)),
            ({"padding": MAX_BODY}, ExpectedError(413, "request_too_large", recorded=False)),
        )
        changes, refused = self._rng.choice(kinds)
        values: dict[str, object] = {
            "selector": ALIAS,
            "stream": self._rng.random() < 0.5,
            "chunked": self._rng.random() < 0.2,
            "closing": not refused.recorded,
            **changes,
        }
        return SoakRequest(self._nonce(), candidates=(), refused=refused, **values)  # type: ignore[arg-type]

    def _nonce(self) -> str:
        self.made += 1
        return nonce(self._seed, self._first + self.made)

    def _selector(self) -> tuple[str, tuple[str, ...]]:
        rng = self._rng
        kind = rng.random()
        if kind < 0.2:
            model = rng.choice(MODELS)
            return model, (model,)
        order = rng.choices(("", ":latency", ":throughput"), (90, 5, 5))[0]
        if kind < 0.6:
            return ALIAS + order, MODELS
        chosen = tuple(rng.sample(MODELS, rng.randint(2, 5)))
        return ", ".join(chosen) + order, chosen

    def _length(self, *, slow_client: int, small: bool) -> tuple[int, int]:
        """Return the number of tokens in a response, and their length."""
        if slow_client:
            return 200, slow_client // 200
        if small:
            return 3, 12
        return self._rng.choices(((3, 12), (20, 12), (60, 60), (40, 4_000)), (40, 40, 15, 5))[0]


_LIST: Final = ExpectedError(400, "invalid_model_list")
