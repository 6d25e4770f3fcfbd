"""A router in memory with two other services, one of which is the last resort."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autopilot.request.parse import ParseConfig
from autopilot.routing.commit import Commit
from autopilot.routing.fallbacks import Fallbacks
from autopilot.routing.plan import Rules
from autopilot.routing.routes import Route
from autopilot.upstream.backend import Backend
from autopilot.upstream.pool import Origin
from tests.unit.relay.routers import ALIAS, PSEUDONYM, Client, RouterTestCase
from tests.unit.relay.upstreams import JSON, Wire, whole

KEY = "other-canary"
LAST, NAMED = "@last/big/one", "@named/m"
ANSWER = b'{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}'
EDGE_PAGE = b"<html><center>nginx</center></html>"
PLATFORM = "llm.test"
BACKEND, SELECTED = b"x-chutes-autopilot-backend", b"x-chutes-autopilot-selected"
TO_LAST, TO_NAMED = ("last.test", "big/one"), ("named.test", "m")


class FallbackTestCase(RouterTestCase):
    """`last` has a default model, `named` has none."""

    resorts = True
    unknown_models: Any = "reject"

    def build(self, **given: Any) -> None:
        """Let the router know the services."""
        super().build(**given)
        others = Fallbacks.of(
            (
                ("last", ("big/one", "two"), "big/one" if self.resorts else None),
                ("named", ("m",), None),
            )
        )
        routes = {
            "route": Route("route", ("a", NAMED), fallbacks=others),
            "confidential": Route("confidential", ("a",), tee=True, fallbacks=others),
            "odd": Route("odd", ("@named/gone", "b"), fallbacks=others),
        }
        rules = Rules(
            frozenset({ALIAS}),
            max_list_items=8,
            unknown_models=self.unknown_models,
            routes=routes,
            fallbacks=others,
        )
        commit = given.get("commit", Commit.CONTENT)
        self.config = replace(
            self.config,
            parsing=ParseConfig.of(rules, commit, 100_000),
            backends={
                name: Backend.of(name, Origin("http", f"{name}.test", 80, path), KEY, PSEUDONYM)
                for name, path in (("last", "/api/v2"), ("named", ""))
            },
        )
        self.proxy.configure(self.config)

    @property
    def went(self) -> list[tuple[str, str]]:
        """The host and the model of each request, connection by connection."""
        return [
            (host_of(part), model)
            for wire in self.upstreams.wires
            for part, model in zip(requests_of(wire), wire.models, strict=True)
        ]

    def answer(self) -> None:
        """Answer the last request whole; the next one has a connection of its own."""
        self.wire.says(whole(200, ANSWER, JSON, b"Connection: close"))

    def fails(self, times: int = 1) -> None:
        """Let so many requests fail in turn."""
        for _ in range(times):
            self.wire.says(whole(503, b"{}", JSON, b"Connection: close"))


def requests_of(wire: Wire) -> list[bytes]:
    """Return the requests on one connection."""
    return [b"POST " + part for part in wire.value().split(b"POST ")[1:]]


def host_of(request: bytes) -> str:
    """Return the host of a request."""
    return request.partition(b"Host: ")[2].partition(b"\r\n")[0].decode()


def fields_of(client: Client) -> dict[bytes, bytes]:
    """Return the fields of a committed response by their names."""
    assert client.down.head is not None
    return {name.lower(): value for name, value in client.down.head.fields}
