"""Conversations keep their models: what a request remembers, and what its response says of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autopilot.http.headers import Field
from autopilot.request.conversation_id import SESSION_FIELDS
from autopilot.routing.why import HIT, MISS, MOVED, AffinityWhy
from autopilot.state.affinity import SessionAffinity
from autopilot.state.circuit_breaker import CircuitBreaker
from autopilot.state.latency import LatencyStats
from autopilot.state.tables import StateTables
from tests.unit.relay.routers import ALIAS, RouterTestCase, snapshot
from tests.unit.relay.upstreams import DONE, JSON, STOP, TOKEN, chunk, head, whole

_FIELD = b"x-chutes-autopilot-affinity"
_OFF = (b"X-Autopilot-Affinity", b"off")
_UNAVAILABLE = whole(503, b"", JSON, b"Connection: close")


def _about(text: str, turns: int = 1) -> dict[str, Any]:
    """Return the messages of a conversation after some turns."""
    turn = {"role": "user", "content": "and then?"}
    system = {"role": "system", "content": "You are brief."}
    return {"messages": [system, {"role": "user", "content": text}, *[turn] * (turns - 1)]}


class AffinityTests(RouterTestCase):
    """The model that answers, and what its response says."""

    def said(self, model: str = ALIAS, *fields: Field, **members: Any) -> tuple[Any, ...]:
        """Return the model that answers a request, and the affinity that its response names."""
        client = self.ask(model, *fields, **members)
        self.wire.says(head(), chunk(TOKEN + STOP + DONE), chunk(b""))
        affinity = self.records[-1].affinity
        self.assertEqual(client.down.field(_FIELD), affinity and affinity.encode())
        return self.records[-1].model, self.records[-1].affinity

    def now_best(self, *models: str) -> None:
        """Let a refresh rank the models in this order."""
        self.snapshot = snapshot(**dict.fromkeys(models, 1000))

    def test_two_conversations(self) -> None:
        """Under one key each conversation keeps the model with which it began."""
        self.assertEqual(self.said(**_about("one")), ("a", MISS))
        self.now_best("b", "a", "c")
        self.assertEqual(self.said(**_about("two")), ("b", MISS))
        for best in ("c", "a", "b"):
            self.now_best(best, *{"a", "b", "c"} - {best})
            for turns in (2, 3):
                self.assertEqual(self.said(**_about("one", turns)), ("a", HIT))
                self.assertEqual(self.said(**_about("two", turns)), ("b", HIT))
        self.assertEqual(self.said(**_about("three"))[1], MISS)

    def test_other_clients(self) -> None:
        """What another key says alike is another conversation."""
        self.said(**_about("one"))
        self.now_best("b", "a", "c")
        self.assertEqual(self.said(token=b"other", **_about("one")), ("b", MISS))

    def test_session(self) -> None:
        """A session's id keeps turns together whose messages have nothing in common."""
        session = (b"X-Claude-Code-Session-Id", b"7f")
        self.assertEqual(self.said(ALIAS, session, **_about("one")), ("a", MISS))
        self.now_best("b", "a", "c")
        self.assertEqual(self.said(ALIAS, session, **_about("two")), ("a", HIT))
        self.assertEqual(self.said(ALIAS, **_about("one")), ("b", MISS))

    def test_of_a_client(self) -> None:
        """With `STICKY_SCOPE=client`, and where nothing tells them apart, there is but one."""
        self.said()
        self.now_best("b", "a", "c")
        self.assertEqual(self.said(), ("a", HIT))
        self.assertEqual(self.said(**_about("one")), ("b", MISS))
        self.proxy.configure(replace(self.config, by_conversation=False))
        self.assertEqual(self.said(**_about("two")), ("a", HIT))

    def test_off(self) -> None:
        """A request that asks for it neither follows a model nor leaves a trace."""
        self.said(**_about("one"))
        self.now_best("b", "a", "c")
        self.assertEqual(self.said(ALIAS, _OFF, **_about("one")), ("b", None))
        self.assertEqual(self.said(**_about("one")), ("a", HIT))
        self.assertEqual(self.said(ALIAS, _OFF, **_about("two")), ("b", None))
        self.assertEqual(self.said(ALIAS, (_OFF[0], b""), **_about("two")), ("b", MISS))
        self.assertEqual(len(self.tables.affinity), 2)

    def test_wrong_wish(self) -> None:
        """Anything but `off` is refused."""
        client = self.ask(ALIAS, (_OFF[0], b"on"))
        self.assert_refused(client, 400, "invalid_header")

    def test_no_stickiness(self) -> None:
        """With a TTL of 0, and for a direct name, nothing is said."""
        self.assertEqual(self.said("a", **_about("one")), ("a", None))
        self.build(
            tables=StateTables(
                SessionAffinity(ttl=0, max_entries=100, list_retry=10.0),
                CircuitBreaker(threshold=3, period=10.0, max_entries=100),
                LatencyStats(),
            )
        )
        for _ in range(2):
            self.assertEqual(self.said(**_about("one")), ("a", None))

    def test_moved(self) -> None:
        """A failure moves the conversation, and no other one."""
        self.said(**_about("one"))
        self.said(**_about("two"))
        self.ask(ALIAS, **_about("one"))
        self.wire.says(_UNAVAILABLE)
        self.wire.says(head(), chunk(TOKEN + STOP + DONE), chunk(b""))
        self.assertEqual((self.records[-1].model, self.records[-1].affinity), ("b", MOVED))
        self.assertEqual(self.said(**_about("one")), ("b", HIT))
        self.assertEqual(self.said(**_about("two")), ("a", HIT))

    def test_gone(self) -> None:
        """A model that is no candidate any more is a miss."""
        self.said(**_about("one"))
        self.now_best("b", "c")
        self.assertEqual(self.said(**_about("one")), ("b", MISS))

    def test_expired(self) -> None:
        """So is one that was remembered for too long."""
        self.said(**_about("one"))
        self.now_best("b", "a", "c")
        self.clock.advance(1800)
        self.assertEqual(self.said(**_about("one")), ("b", MISS))

    def why(self, *said: Any) -> AffinityWhy | None:
        """Return why the answering model is not the one before, once it is as ``said``."""
        record = self.records[-1]
        self.assertEqual((record.model, record.affinity), said)
        return record.affinity_why

    def fails(self, model: str = ALIAS, **members: Any) -> None:
        """Send a request whose first attempt fails, and which another model answers."""
        self.ask(model, **members)
        self.wire.says(_UNAVAILABLE)
        self.wire.says(head(), chunk(TOKEN + STOP + DONE), chunk(b""))

    def test_why_of_the_alias(self) -> None:
        """The record says why there was no model to keep, or why it was not kept."""
        self.said(**_about("one"))
        self.assertIs(self.why("a", MISS), AffinityWhy.NEW)
        self.said(**_about("one"))
        self.assertIsNone(self.why("a", HIT))
        self.fails(**_about("one"))
        self.assertIs(self.why("b", MOVED), AffinityWhy.FAILED)
        self.clock.advance(1800)
        self.said(**_about("one"))
        self.assertIs(self.why("a", MISS), AffinityWhy.EXPIRED)
        self.now_best("c", "b")
        self.said(**_about("one"))
        self.assertIs(self.why("c", MISS), AffinityWhy.GONE)

    def test_why_after_a_failure(self) -> None:
        """A model that fails is forgotten, also if no other model answers, or after commit."""
        self.said("a,", **_about("one"))
        self.ask("a,", **_about("one"))
        self.wire.says(_UNAVAILABLE)
        self.said("a,", **_about("one"))
        self.assertIs(self.why("a", MISS), AffinityWhy.FAILED)
        self.ask(**_about("two"))
        self.wire.says(head(), chunk(TOKEN))
        self.wire.resets()
        self.assertIs(self.why("a", MISS), AffinityWhy.NEW)
        self.said(**_about("two"))
        self.assertIs(self.why("a", MISS), AffinityWhy.FAILED)

    def test_why_it_cools(self) -> None:
        """A conversation leaves a model that others found broken."""
        self.said(**_about("one"))
        for token in (b"1", b"2", b"3"):
            self.tables.breaker.failed(token, "a", self.clock.seconds(), 0.0)
        self.said(**_about("one"))
        self.assertIs(self.why("b", MOVED), AffinityWhy.COOLING)

    def test_why_in_a_list(self) -> None:
        """The list's order displaces a fallback once the outage is over."""
        self.fails("a,b", **_about("one"))
        self.assertIs(self.why("b", MISS), AffinityWhy.NEW)
        self.said("a,b", **_about("one"))
        self.assertIsNone(self.why("b", HIT))
        self.clock.advance(10)
        self.said("a,b", **_about("one"))
        self.assertIs(self.why("a", MOVED), AffinityWhy.LISTED)

    def test_why_it_answers_late(self) -> None:
        """A model that answers after others failed is the one before, whatever displaced it."""
        self.fails("a,b", **_about("one"))
        self.clock.advance(10)
        self.fails("a,b", **_about("one"))
        self.assertIsNone(self.why("b", HIT))

    def test_why_not_at_all(self) -> None:
        """A request that is not to stick says so; one under a direct name says nothing."""
        self.said(ALIAS, _OFF, **_about("one"))
        self.assertIs(self.why("a", None), AffinityWhy.OFF)
        self.said("a", **_about("one"))
        self.assertIsNone(self.why("a", None))
        self.ask(ALIAS, path=b"/v1/messages/count_tokens", stream=False, **_about("one"))
        self.wire.says(whole(200, b'{"input_tokens":1}', JSON))
        self.assertIsNone(self.why("a", None))

    def test_why_without_an_answer(self) -> None:
        """Nothing is said of a conversation whose request got no answer."""
        self.ask("a,", **_about("one"))
        self.wire.resets()
        self.assertIsNone(self.why("a", None))

    def test_list(self) -> None:
        """The caller's order rules; a failure counts for its own conversation only."""
        self.assertEqual(self.said("a,b", **_about("one")), ("a", MISS))
        self.ask("a,b", **_about("one"))
        self.wire.says(_UNAVAILABLE)
        self.wire.says(head(), chunk(TOKEN + STOP + DONE), chunk(b""))
        self.assertEqual((self.records[-1].model, self.records[-1].affinity), ("b", MOVED))
        self.assertEqual(self.said("a,b", **_about("one")), ("b", HIT))
        self.assertEqual(self.said("a,b", **_about("two")), ("a", MISS))
        self.clock.advance(10)
        self.assertEqual(self.said("a,b", **_about("one")), ("a", MOVED))

    def test_count_of_tokens(self) -> None:
        """It goes to the conversation's model, and changes nothing."""
        self.said(**_about("one"))
        self.now_best("b", "a", "c")
        for text, model in (("one", "a"), ("two", "b")):
            self.ask(ALIAS, path=b"/v1/messages/count_tokens", stream=False, **_about(text))
            self.wire.says(whole(200, b'{"input_tokens":1}', JSON))
            self.assertEqual(self.records[-1].model, model)
        self.assertEqual(len(self.tables.affinity), 1)

    def test_sent_up(self) -> None:
        """A session's header goes to the platform unchanged; the router's own does not."""
        self.ask(ALIAS, (b"X-Session-Id", b"7f"), (b"session_id", b"8"), (_OFF[0], b" off "))
        sent = self.wire.value()
        self.assertIn(b"X-Session-Id: 7f\r\nsession_id: 8\r\n", sent)
        self.assertNotIn(b"X-Autopilot", sent)
        self.wire.says(head(), chunk(TOKEN + STOP + DONE), chunk(b""))

    def test_each_field_sent_up(self) -> None:
        """Each session field goes up unchanged: its case, its value, each of several, no id too."""
        for name in SESSION_FIELDS:
            for spelled in (name, name.upper(), name.title()):
                values = (b"7f", b"", b"x" * 300, b"\xff, \t8")
                self.ask(ALIAS, *((spelled, value) for value in values))
                lines = b"".join(b"%b: %b\r\n" % (spelled, value) for value in values)
                self.assertIn(lines, self.wire.value())
                self.wire.says(whole(200, b"{}", JSON, b"Connection: close"))

    def test_no_forgery(self) -> None:
        """An upstream's field of this name does not reach the client."""
        client = self.ask(ALIAS, **_about("one"))
        self.wire.says(whole(200, b"{}", JSON, b"X-Chutes-Autopilot-Affinity: hit"))
        self.assertEqual(client.down.field(_FIELD), b"miss")
