"""What a real store holds of a client: the whole memory of the server is searched for canaries."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.process.processes import PATIENCE, Platform, Router, received, until
from tests.rigs.replicas.programs import StoreProcess
from tests.unit.relay.upstreams import DONE, STOP, chunk
from tests.unit.web.browsers import CHAT, ask, request
from tests.unit.web.responses import responses

_KEY: Final = "canary-hash-key-0123456789abcdef"
_CANARIES: Final = {
    "token": b"cpk_canary-token",
    "session id": b"canary-session",
    "user": b"canary-user",
    "prompt": b"canary question",
    "address": b"203.0.113.77",
    "request id": b"canary-request",
    "model of the client's own": b"canary-model",
    "STICKY_HASH_KEY": _KEY.encode(),
    "URL of a feed": b"canary-url",
}
_FORGED: Final = b"canary-forged"
_LIST: Final = "acme/one,acme/two"
"""A choice, without which there is nothing to remember of a conversation."""
_MAPPED: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw")
_LINES: Final = (
    b"Authorization: Bearer cpk_canary-token",
    b"X-Session-Id: canary-session",
    b"X-Session-Affinity: canary-session",
    b"X-Forwarded-For: 203.0.113.77",
    b"X-Request-Id: canary-request",
    b"Connection: close",
)


def memory(process: int) -> Iterator[bytes]:
    """Yield every writable region of a process's memory."""
    try:
        maps = Path(f"/proc/{process}/maps").read_text("ascii")
        with Path(f"/proc/{process}/mem").open("rb", buffering=0) as mapped:
            for start, end in _MAPPED.findall(maps):
                # Some regions are not memory.
                with contextlib.suppress(OSError, ValueError):
                    mapped.seek(int(start, 16))
                    yield mapped.read(int(end, 16) - int(start, 16))
    except OSError as why:
        raise SkipTest(f"this system does not let a process read another one: {why}") from None


class MemoryTests(SynchronousTestCase):
    """A router with a store, and a client full of secrets."""

    def setUp(self) -> None:
        """Start all three."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.dump = folder / "dump.rdb"
        self.store = StoreProcess(folder)
        self.store.start()
        self.addCleanup(self.store.kill)
        self.process = int(self.store.tell("INFO", "server").split(b"process_id:")[1].split()[0])
        platform = Platform(chunk(STOP + DONE) + chunk(b""))
        platform.go_on.set()
        self.addCleanup(platform.close)
        self.router = Router(
            self.mktemp(),
            platform.port,
            STATE_URL=self.store.url,
            STICKY_HASH_KEY=_KEY,
            FEEDS="shared",
            UTILIZATION_URL=f"http://127.0.0.1:{platform.port}/chutes/canary-url",
            TRUST_PROXY_HEADERS="true",
            TRUSTED_PROXY_CIDRS="127.0.0.1",
            UNKNOWN_MODELS="forward",
        )
        self.addCleanup(self.router.close)
        self.port = self.router.port()

    def served(self, data: bytes) -> int:
        """Send a request and return the status."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as client:
            client.sendall(data)
            (response,) = responses(received(client))
        return response.status

    def ask(self, model: str) -> int:
        """Send a conversation."""
        said = [{"role": "user", "content": "canary question"}]
        return self.served(
            request(CHAT, *_LINES, body=ask(model, user="canary-user", messages=said))
        )

    def stored(self) -> int:
        """Return the number of events that the store has for a warm start."""
        keys = re.findall(r"\S+:warm:\S+", self.store.tell("KEYS", "*").decode())
        return sum(int(self.store.tell("HLEN", key)[1:]) for key in keys)

    def feeds(self) -> int:
        """Return the number of bodies of feeds that the store has."""
        return len(re.findall(r":feed:\w+:\w+:\w+:0", self.store.tell("KEYS", "*").decode()))

    def found(self, canary: bytes) -> set[str]:
        """Return where the store has a text: in its memory, in its dump."""
        places = set()
        if any(canary in region for region in memory(self.process)):
            places.add("memory")
        if canary in self.dump.read_bytes():
            places.add("dump")
        return places

    def test_no_canary(self) -> None:
        """Conversations reach the store, and nothing from which a client is known."""
        ready = request(b"/readyz", b"Connection: close", method=b"GET")
        until(lambda: self.served(ready) == 200)
        for model in (_LIST, _LIST, "canary-model"):
            self.assertEqual(self.ask(model), 200)
        # The conversation, and a second after it what was measured.
        until(lambda: self.stored() >= 2)
        until(lambda: self.feeds() == 2)
        self.store.tell("SAVE")
        self.assertEqual(self.found(b"acme/one"), {"memory", "dump"})
        for name, canary in _CANARIES.items():
            self.assertEqual(self.found(canary), set(), f"{name} is in the store")
        # The search finds what is there, also in pieces of larger values.
        self.store.tell("SET", "any", f"before {_FORGED.decode()} behind")
        self.store.tell("SAVE")
        self.assertEqual(self.found(_FORGED), {"memory", "dump"})
