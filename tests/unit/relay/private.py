"""A data plane in memory with private mode: instances that seal, and a fake way to find them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred

from autopilot.attestation.private_instances import Attested, Cause, UnavailableError
from autopilot.observability.private_counts import PrivateCounts
from autopilot.relay.private_exchanges import PrivateExchanges
from autopilot.relay.private_path import INVOKE, PrivatePath
from autopilot.request.parse import ParseConfig
from autopilot.routing.private_mode import ALWAYS
from autopilot.upstream.pool import Origin
from autopilot.upstream.target import RequestTarget
from tests.unit.attestation.fake_instances import FakeInstances, attested
from tests.unit.attestation.sealed import (
    instance_key,
    read_request,
    sealed_reply,
    sealed_stream,
)
from tests.unit.relay.routers import RouterTestCase
from tests.unit.relay.upstreams import JSON, Wire, chunk, head, whole

API = Origin("http", "api.test", 80, "/api")
OCTETS = b"application/octet-stream"
REPLY = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'


def instance(number: int = 1) -> str:
    """The id of an instance."""
    return f"0a000000-0000-4000-8000-{number:012d}"


def detail(status: int, text: Any) -> bytes:
    """An error of the platform."""
    return whole(status, json.dumps({"detail": text}).encode(), JSON)


CAPACITY = detail(429, "Instance is at maximum capacity, try again later")
STALE_NONCE = detail(403, "Invalid, expired, or already-used nonce")


class Call:
    """One sealed call, as the platform and the instance see it."""

    def __init__(self, wire: Wire) -> None:
        text, _, self.blob = wire.value().rpartition(b"POST ")[2].partition(b"\r\n\r\n")
        self.head = b"POST " + text
        self.wire = wire
        self.request = read_request(self.blob)

    @property
    def fields(self) -> dict[str, str]:
        """The header fields, which each stand once."""
        lines = self.head.decode().split("\r\n")[1:]
        pairs = [line.split(": ", 1) for line in lines]
        names = [name.lower() for name, _ in pairs]
        assert len(set(names)) == len(names), names
        return {name.lower(): value for name, value in pairs}

    @property
    def response_key(self) -> bytes:
        """The key for the reply."""
        key: str = self.request["e2e_response_pk"]
        return key.encode()

    def events(self, *pieces: bytes) -> list[bytes]:
        """A stream of sealed pieces, with the event that begins it."""
        return sealed_stream(self.response_key, *pieces)

    def replies(self, body: bytes = REPLY, *fields: bytes) -> None:
        """Answer with a whole plain reply."""
        blob = sealed_reply(self.response_key, gzip.compress(body))
        self.wire.says(whole(200, blob, OCTETS, *fields))

    def streams(self, *pieces: bytes, ends: bool = True) -> None:
        """Answer with a stream, an event a read."""
        self.wire.says(head(), *(chunk(each) for each in self.events(*pieces)))
        if ends:
            self.wire.says(chunk(b""))


class PrivateRouterTestCase(RouterTestCase):
    """A router whose requests are private; instances come from a fake.

    All of them have the one key of the vectors, so that a test can read what was sealed.
    """

    def setUp(self) -> None:
        """Build the router; every request is private."""
        self.instances = FakeInstances()
        self.threads: list[Callable[[], None]] = []
        super().setUp()

    def build(self, **settings: Any) -> None:
        """See `RouterTestCase`."""
        super().build(**settings)
        rules = replace(self.config.parsing.rules, private=True)
        self.configure(parsing=ParseConfig.of(rules, self.config.parsing.commit, 1 << 20, ALWAYS))

    def private_exchanges(self) -> PrivateExchanges:
        """See `RouterTestCase`."""
        self.counts = PrivateCounts()
        target = RequestTarget.sealed(API, INVOKE)
        return PrivateExchanges(PrivatePath(self.instances, self.counts, target, self._in_thread))

    def _in_thread(self, call: Callable[..., Any], *given: Any) -> Deferred[Any]:
        """Keep the work until the test runs it."""
        done: Deferred[Any] = Deferred()

        def run() -> None:
            if not done.called:
                maybeDeferred(call, *given).chainDeferred(done)

        self.threads.append(run)
        return done

    def finds(self, *results: Attested | UnavailableError | int | Cause) -> None:
        """Let the next questions for an instance have these answers: one by its number, or none."""
        for each in results:
            if isinstance(each, int):
                each = self.found(each)
            elif isinstance(each, Cause):
                each = UnavailableError(each)
            self.instances.ready.append(each)

    def found(self, number: int = 1) -> Attested:
        """An attested instance, with a nonce of its own."""
        self.nonces = getattr(self, "nonces", 0) + 1
        nonce = f"nonce-{self.nonces:026d}"
        return attested(instance_key("A"), instance(number), nonce, self.clock.seconds())

    def configure(self, **changes: Any) -> None:
        """Use other settings for the next requests."""
        self.config = replace(self.config, **changes)
        self.proxy.configure(self.config)

    @property
    def call(self) -> Call:
        """The sealed call made last."""
        return Call(self.wire)

    @property
    def faults(self) -> dict[str, float]:
        """The faults of sealed streams that were counted."""
        found = self.counts._faults.values
        return {str(label): number for (label,), number in found.items() if number}

    @property
    def outcomes(self) -> dict[str, float]:
        """How private requests ended."""
        found = self.counts._requests.values
        return {str(label): number for (label,), number in found.items() if number}
