"""The upstream's part in private mode: attested instances, and answers sealed to a request.

Discovery lists more nonces than the platform does: its budget would otherwise end a measurement
after 400 requests.
Evidence is made with the keys of the tests' synthetic world.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate

from benchmarks.feeds import benchmark_population
from benchmarks.processes import PROJECT
from benchmarks.wire import FRAMING, Templates, Wanted, json_head, wanted
from stub_backend.attestation import Attestation
from stub_backend.e2e import EndToEnd
from stub_backend.evidence_bodies import instance_ids
from stub_backend.log import Received
from stub_backend.sealed.seals import (
    StreamSealer,
    e2e_pubkey,
    instance_key,
    open_request,
    seal_reply,
)
from stub_backend.sealed.world import World
from stub_backend.steps import Head, Send

WORLD: Final = PROJECT / "tests" / "data" / "private"
INVOKE: Final = b"POST /e2e/invoke "
KEY: Final = "cpk_bench.bench.bench"
"""Instances answer those who have a key."""

MANY: Final = 8
"""More instances than the platform lists, for measurements of many requests."""

_DISCOVERY: Final = "/e2e/instances/"
_NONCES: Final = 256
_NONCE_SECONDS: Final = 60
_INSTANCE: Final = b"x-instance-id: "


def write_roots(folder: Path) -> Path:
    """Write the roots of the world to a file for ``PRIVATE_TEST_ROOTS``."""
    roots = World.read(WORLD).vectors["roots"]
    ders = [b64decode(roots[f"{each}_root_der_b64"]) for each in ("intel_like", "gpu")]
    pems = [load_der_x509_certificate(each).public_bytes(Encoding.PEM) for each in ders]
    path = folder / "roots.pem"
    path.write_bytes(b"".join(pems))
    return path


@dataclass(frozen=True, slots=True)
class Opened:
    """What a sealed request asks for, and the key for the answer."""

    wanted: Wanted
    key: MLKEM768PublicKey


class SealedUpstream:
    """The pages that private mode needs, and the requests that instances open."""

    def __init__(self, instances: int = MANY) -> None:
        self._instances = instances
        end_to_end = EndToEnd(benchmark_population(), seed=1)
        self._attestation = Attestation(end_to_end, World.read(WORLD), lambda: False)
        self._numbers = count()

    def page(self, target: str) -> bytes | None:
        """Return the response to a GET, or None if private mode has no such page."""
        path = target.partition("?")[0]
        if path.startswith(_DISCOVERY):
            body = json.dumps(self._discovery(path.removeprefix(_DISCOVERY))).encode()
            return json_head("200 OK", len(body)) + body
        headers = (("authorization", f"Bearer {KEY}"),)
        record = Received(0, 0.0, "GET", target, headers, b"", 0, "")
        steps = self._attestation.answer(record)
        return None if steps is None else b"".join(_written(steps))

    def opened(self, head: bytes, body: bytes) -> Opened:
        """Open a request."""
        start = head.lower().index(_INSTANCE) + len(_INSTANCE)
        instance = head[start : head.index(b"\r\n", start)].decode()
        found = open_request(body, _key(instance))
        return Opened(wanted(json.dumps(found.body).encode()), found.response_key)

    def _discovery(self, chute_id: str) -> dict[str, Any]:
        return {
            "instances": [
                {
                    "instance_id": each,
                    "e2e_pubkey": e2e_pubkey(each),
                    "nonces": [f"nonce-{next(self._numbers):020}" for _ in range(_NONCES)],
                }
                for each in instance_ids(chute_id, self._instances)
            ],
            "nonce_expires_in": _NONCE_SECONDS,
        }


def sealed_reply(answer: Templates, stamp: bytes, key: MLKEM768PublicKey) -> bytes:
    """Return the whole response to a request for a plain reply."""
    _head, _, body = (answer.unary_before + stamp + answer.unary_after).partition(b"\r\n\r\n")
    blob = seal_reply(body, key)
    head = json_head("200 OK", len(blob))
    return head.replace(b"application/json", b"application/octet-stream") + blob


class SealedEvents:
    """The chunks of one stream. Each line of an event is sealed by itself, as instances do."""

    __slots__ = ("_after", "_before", "_ending", "_sealer", "first")

    def __init__(self, answer: Templates, key: MLKEM768PublicKey) -> None:
        self._sealer = StreamSealer(key)
        self._before = answer.event_before.partition(b"\r\n")[2]
        self._after = answer.event_after.removesuffix(b"\r\n")
        self._ending = FRAMING.sub(b"", b"\r\n" + answer.ending)
        self.first = _chunk(self._sealer.init())

    def event(self, stamp: bytes) -> bytes:
        """Return the chunk of one event."""
        return self._sealed(self._before + stamp + self._after)

    def ending(self) -> bytes:
        """Return the last event, the terminator and the end of the body."""
        return self._sealed(self._ending) + b"0\r\n\r\n"

    def _sealed(self, text: bytes) -> bytes:
        return _chunk(b"".join(map(self._sealer.event, text.splitlines(keepends=True))))


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@cache
def _key(instance: str) -> MLKEM768PrivateKey:
    return instance_key(instance)


def _written(steps: Iterator[object]) -> Iterator[bytes]:
    for step in steps:
        if isinstance(step, Head):
            lines = "".join(f"{name}: {value}\r\n" for name, value in step.headers)
            yield f"HTTP/1.1 {step.status} OK\r\n{lines}\r\n".encode()
        elif isinstance(step, Send):
            yield step.data
