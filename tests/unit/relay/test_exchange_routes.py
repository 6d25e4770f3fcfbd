"""Requests by the name of a route: what goes up, what the client sees, and what the route has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from autopilot.http.headers import Field
from autopilot.relay.config import RelayConfig, Timeouts
from autopilot.request.parse import ParseConfig
from autopilot.routing.commit import Commit
from autopilot.routing.plan import Rules
from autopilot.routing.pricing import MaxPrice
from autopilot.routing.routes import Route
from autopilot.routing.why import HIT, MISS, MOVED, Why
from tests.unit.relay.routers import ALIAS, TIMEOUTS, RouterTestCase, snapshot
from tests.unit.relay.upstreams import DONE, JSON, ROLE, STOP, TOKEN, chunk, head, whole

_UNAVAILABLE = whole(503, b"", JSON, b"Connection: close")
_SIGNATURE = (
    (b"X-Chutes-Hotkey", b"5Hot"),
    (b"X-Chutes-Signature", b"ab"),
    (b"X-Chutes-Nonce", b"1"),
)
_CONTEXT = b'{"error":{"message":"This model\'s maximum context length is 10 tokens"}}'


class RoutesTestCase(RouterTestCase):
    """A router with routes."""

    def set_routes(
        self,
        *routes: Route,
        commit: Commit = Commit.CONTENT,
        timeouts: Mapping[str, Timeouts] | None = None,
    ) -> None:
        """Use these routes from now on."""
        rules = Rules(frozenset({ALIAS}), 8, routes={each.name: each for each in routes})
        config = replace(self.config, parsing=ParseConfig.of(rules, commit, 100_000))
        own: dict[str, RelayConfig] = {
            name: replace(config, timeouts=each) for name, each in (timeouts or {}).items()
        }
        self.proxy.configure(replace(config, of_routes=own))

    def answered(self, model: str, *fields: Field, **members: Any) -> dict[bytes, bytes | None]:
        """Return the router's own fields of the response."""
        client = self.ask(model, *fields, **members)
        return self.fields(client)

    def fields(self, client: Any) -> dict[bytes, bytes | None]:
        """Answer, and return the router's own fields of the response."""
        self.wire.says(head(), chunk(TOKEN + STOP + DONE), chunk(b""))
        names = (b"selected", b"attempts", b"affinity")
        return {each: client.down.field(b"x-chutes-autopilot-" + each) for each in names}


class RouteTests(RoutesTestCase):
    """As a list of its models."""

    def test_answers(self) -> None:
        """The first model gets the request under its own name, and the response says so."""
        self.set_routes(Route("r", ("b", "c")))
        expected = {b"selected": b"b", b"attempts": b"1", b"affinity": b"miss"}
        self.assertEqual(self.answered("r"), expected)
        self.assertEqual(self.models, ["b"])
        record = self.record
        self.assertEqual((record.mode, record.why, record.candidates), ("route", Why.ROUTE, 2))
        self.assertEqual((record.model, record.affinity), ("b", MISS))

    def test_fails_over(self) -> None:
        """It fails over in its order, and the last error names what was tried."""
        self.set_routes(Route("r", ("b", "c")))
        client = self.ask("r")
        self.wire.says(_UNAVAILABLE)
        expected = {b"selected": b"c", b"attempts": b"2", b"affinity": b"miss"}
        self.assertEqual(self.fields(client), expected)
        self.assertEqual(self.records[-1].why, Why.ROUTE)
        self.build()
        self.set_routes(Route("r", ("b", "c")))
        client = self.ask("r")
        for _ in range(2):
            self.wire.says(_UNAVAILABLE)
        tried = client.down.field(b"x-chutes-autopilot-tried")
        self.assertEqual(tried, b"b=status_503,c=status_503")
        self.assertEqual(client.down.status, 503)

    def test_not_found(self) -> None:
        """A model that the platform does not have leads to the next, and so does a long prompt."""
        for answer in (
            whole(404, b'{"detail":"model not found: b"}', JSON, b"Connection: close"),
            whole(400, _CONTEXT, JSON, b"Connection: close"),
        ):
            self.set_routes(Route("r", ("b", "d", "c")))
            self.snapshot = snapshot(a=1000, b=1000, c=4000, d=None)
            self.ask("r")
            self.wire.says(answer)
            # A model whose context is unknown may have a larger one, as in a list.
            self.assertEqual(self.models, ["b", "d"])
            self.build()

    def test_conversation(self) -> None:
        """It sticks as a list does: a fallback keeps the conversation for a while, no longer."""
        self.set_routes(Route("r", ("a", "b")), Route("s", ("a", "b")))
        self.ask("r")
        self.wire.says(_UNAVAILABLE)
        self.fields(self.clients[-1])
        self.assertEqual(self.answered("r")[b"selected"], b"b")
        self.assertEqual((self.records[-1].affinity, self.records[-1].why), (HIT, Why.STICKY))
        self.assertEqual(self.answered("s")[b"affinity"], b"miss")
        self.clock.advance(60)
        self.assertEqual(self.answered("r")[b"selected"], b"a")
        self.assertEqual((self.records[-1].affinity, self.records[-1].why), (MOVED, Why.ROUTE))

    def test_the_alias_at_its_end(self) -> None:
        """What the alias adds is tried as the best, and must be capable."""
        self.set_routes(Route("r", ("b",), alias_last=True))
        prompt = "word " * 4000  # more than 1000 tokens, and fewer than 4000 pairs of them
        client = self.ask("r", messages=[{"role": "user", "content": prompt}])
        self.wire.says(_UNAVAILABLE)
        self.assertEqual(self.fields(client)[b"selected"], b"c")
        self.assertEqual(self.records[-1].why, Why.BEST)

    def test_in_a_list(self) -> None:
        """As an item it stands for its models; their reason is the client's list."""
        self.set_routes(Route("r", ("b", "c")))
        client = self.ask("a,r")
        self.wire.says(_UNAVAILABLE)
        self.assertEqual(self.fields(client)[b"selected"], b"b")
        record = self.records[-1]
        self.assertEqual((record.mode, record.why, record.candidates), ("list", Why.LISTED, 3))

    def test_errors(self) -> None:
        """Filters that leave none, private mode and a signature are refused before any attempt."""
        self.set_routes(
            Route("dear", ("a",), max_price=MaxPrice(Decimal(1))),
            Route("private", ("a",), private=True),
            Route("r", ("a",)),
        )
        client = self.ask("dear")
        self.assert_refused(client, 400, "no_capable_model")
        self.assertEqual(self.records[-1].mode, "route")
        self.assert_refused(self.ask("private"), 400, "private_unsupported")
        self.assert_refused(self.ask("r", *_SIGNATURE), 400, "signed_request")
        self.assertEqual(self.models, [])

    def test_count_tokens(self) -> None:
        """Tokens are counted by its first model alone."""
        self.set_routes(Route("r", ("b", "c")))
        client = self.ask("r", stream=False, path=b"/v1/messages/count_tokens")
        self.wire.says(_UNAVAILABLE)
        self.assertEqual((self.models, client.down.status), (["b"], 503))


class OwnTests(RoutesTestCase):
    """The commit point and the patience of a route."""

    def held(self, model: str, *fields: Field) -> bool:
        """Return whether a first chunk without content is held back."""
        client = self.ask(model, *fields)
        self.wire.says(head(), chunk(ROLE))
        return client.down.head is None

    def test_commit(self) -> None:
        """Its own commit point counts for it alone, unless the request has one."""
        self.set_routes(Route("early", ("a", "b"), commit=Commit.BYTE), Route("r", ("a", "b")))
        self.assertFalse(self.held("early"))
        self.assertTrue(self.held("r"))
        self.assertTrue(self.held(ALIAS))
        self.assertTrue(self.held("early,c"))
        wish = (b"X-Autopilot-Commit", b"content")
        self.assertTrue(self.held("early", wish))
        # Another wish of the request leaves the commit point to the route.
        self.assertFalse(self.held("early", (b"X-Autopilot-Affinity", b"off")))
        self.assertFalse(self.held("r", (b"X-Autopilot-Commit", b"byte")))

    def test_of_the_router(self) -> None:
        """Without one of its own a route has the router's."""
        self.set_routes(Route("r", ("a", "b")), commit=Commit.BYTE)
        self.assertFalse(self.held("r"))

    def next_after(self, seconds: float, model: str, *, stream: bool) -> None:
        """Check that the next attempt of a request begins exactly after this time."""
        self.ask(model, stream=stream)
        count = len(self.upstreams.wires)
        # The request's own length adds to a stream's time, less than a tenth of a second.
        self.clock.advance(seconds - 0.001)
        self.assertEqual(len(self.upstreams.wires), count)
        self.clock.advance(0.1)
        self.assertEqual(len(self.upstreams.wires), count + 1)
        self.clients[-1].leaves()

    def test_patience(self) -> None:
        """Its own time-outs count for it alone."""
        hasty = replace(TIMEOUTS, failover_after=3.0, plain_failover_after=20.0)
        self.build(threshold=100)
        self.set_routes(Route("r", ("a", "b")), Route("s", ("a", "b")), timeouts={"r": hasty})
        self.next_after(3.0, "r", stream=True)
        self.next_after(20.0, "r", stream=False)
        for model in ("s", ALIAS, "r,c"):
            self.next_after(12.0, model, stream=True)
            self.next_after(180.0, model, stream=False)

    def test_reload(self) -> None:
        """A request keeps the route with which it began: its models and its patience."""
        hasty = replace(TIMEOUTS, failover_after=3.0)
        self.set_routes(Route("r", ("a", "b")), timeouts={"r": hasty})
        first = self.ask("r")
        self.set_routes(Route("r", ("c",)))
        self.clock.advance(3.1)
        self.assertEqual(self.models, ["a", "b"])
        self.assertEqual(self.fields(first)[b"selected"], b"b")
        self.assertEqual(self.answered("r")[b"selected"], b"c")
        self.set_routes()
        self.assert_refused(self.ask("r"), 400, "unknown_model")
