"""Why a model was tried, as the record says it: every reason provoked once."""

from __future__ import annotations

from dataclasses import replace

from autopilot.http.headers import Field
from autopilot.request.parse import ParseConfig
from autopilot.routing.commit import Commit
from autopilot.routing.routes import Route
from autopilot.routing.why import Why
from tests.unit.relay.routers import ALIAS, RouterTestCase
from tests.unit.relay.upstreams import DONE, JSON, STOP, TOKEN, chunk, head, whole

UNAVAILABLE = whole(503, b"", JSON, b"Connection: close")


class WhyTests(RouterTestCase):
    """The last record's ``why``, with the model that it is about."""

    def tried(self, model: str, *fields: Field) -> tuple[str | None, str | None]:
        """Return the model that answers a request, and why it was tried."""
        self.ask(model, *fields)
        self.wire.says(head(), chunk(TOKEN + STOP + DONE), chunk(b""))
        return self.said

    def tried_second(self, model: str) -> tuple[str | None, str | None]:
        """Return the same if the first model fails."""
        self.ask(model)
        self.wire.says(UNAVAILABLE)
        self.wire.says(head(), chunk(TOKEN + STOP + DONE), chunk(b""))
        return self.said

    @property
    def said(self) -> tuple[str | None, str | None]:
        """The model and the reason of the last record."""
        return self.records[-1].model, self.records[-1].why

    def cool(self, *models: str) -> None:
        """Let three clients see each model fail."""
        for model in models:
            for client in (b"x", b"y", b"z"):
                self.tables.breaker.failed(client, model, self.clock.seconds(), 0.0)

    def test_best(self) -> None:
        """The alias leads to the best model, and after a failure to the next best."""
        self.assertEqual(self.tried(ALIAS), ("a", Why.BEST))
        self.build()
        self.assertEqual(self.tried_second(ALIAS), ("b", Why.BEST))

    def test_sticky(self) -> None:
        """The model that answered is tried again because it did, even if it is the best, too."""
        self.tried(ALIAS)
        self.assertEqual(self.tried(ALIAS), ("a", Why.STICKY))
        self.build()
        self.tried_second(ALIAS)
        self.assertEqual(self.tried(ALIAS), ("b", Why.STICKY))
        self.assertEqual(self.tried_second(ALIAS), ("a", Why.BEST))

    def test_listed(self) -> None:
        """The client's order is why, unless a model before the remembered one has just failed."""
        self.assertEqual(self.tried("b,a"), ("b", Why.LISTED))
        self.assertEqual(self.tried("b,a"), ("b", Why.LISTED))
        self.assertEqual(self.tried_second("a,b"), ("b", Why.LISTED))
        self.assertEqual(self.tried("a,b"), ("b", Why.STICKY))
        self.clock.advance(60)
        self.assertEqual(self.tried("a,b"), ("a", Why.LISTED))

    def test_alias_in_a_list(self) -> None:
        """What the alias at the end of a list adds is tried as the best."""
        rest = f"c,{ALIAS}"
        self.assertEqual(self.tried(rest), ("c", Why.LISTED))
        self.build()
        self.assertEqual(self.tried_second(rest), ("a", Why.BEST))

    def test_route(self) -> None:
        """The models of a route are tried because the client named the route."""
        rules = replace(self.config.parsing.rules, routes={"r": Route("r", ("b", "c"))})
        parsing = ParseConfig.of(rules, Commit.CONTENT, 100_000)
        self.proxy.configure(replace(self.config, parsing=parsing))
        self.assertEqual(self.tried("r"), ("b", Why.ROUTE))
        self.assertEqual(self.tried_second("r"), ("c", Why.ROUTE))

    def test_direct(self) -> None:
        """One name is the client's choice, whatever is known of the model."""
        self.assertEqual(self.tried("b"), ("b", Why.DIRECT))
        self.cool("b")
        self.clock.advance(10)
        self.assertEqual(self.tried("b"), ("b", Why.DIRECT))

    def test_probe(self) -> None:
        """The first attempt after a model's pause is a probe, the next one is none."""
        self.cool("a")
        self.assertEqual(self.tried(ALIAS), ("b", Why.BEST))
        self.clock.advance(10)
        self.ask(ALIAS, token=b"other")
        self.ask(ALIAS, token=b"third")
        self.assertEqual(self.models[-2:], ["a", "b"])
        for client in self.clients[-2:]:
            client.leaves()
        self.assertEqual(
            [(each.model, each.why) for each in self.records[-2:]],
            [("a", Why.PROBE), ("b", Why.BEST)],
        )

    def test_probe_in_a_list(self) -> None:
        """A probe is one in a list as well, also of a model that another one failed before."""
        self.cool("b")
        self.clock.advance(10)
        self.assertEqual(self.tried_second("a,b"), ("b", Why.PROBE))

    def test_no_candidate_but_cooling_ones(self) -> None:
        """A cooling model that is tried for lack of others is no probe."""
        self.cool("a", "b", "c")
        self.assertEqual(self.tried(ALIAS), ("a", Why.BEST))

    def test_none(self) -> None:
        """Without an attempt there is none; the record still has the kind of the selector."""
        for model, mode in (("nobody", "direct"), ("a,nobody", "list")):
            for stream in (True, False):
                self.ask(model, stream=stream)
                asked = self.records[-1].mode, self.records[-1].stream
                self.assertEqual((self.said, asked), ((None, None), (mode, stream)))
        self.ask("a", body=b"{")
        self.assertEqual((self.records[-1].mode, self.records[-1].stream), ("none", None))

    def test_stream(self) -> None:
        """The record says whether the client asked for a stream."""
        self.tried("a")
        self.ask("a", stream=False)
        self.wire.says(whole(200, b'{"choices":[]}', JSON))
        self.assertEqual([each.stream for each in self.records], [True, False])

    def test_closed(self) -> None:
        """The tests above, and those of fallbacks, have each reason."""
        expected = {"best", "sticky", "listed", "direct", "probe", "route", "last_resort"}
        self.assertEqual(set(Why), expected)
