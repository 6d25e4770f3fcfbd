"""Sessions of coding agents keep their models while the feed drifts (contract §5)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain, pairwise

from autopilot.routing.why import HIT, MISS, MOVED, Affinity, AffinityWhy
from tests.unit.relay.routers import ALIAS, RouterTestCase, snapshot
from tests.unit.relay.sessions import CLIENTS, Session, shape
from tests.unit.relay.test_exchange_answers import CONTENTS, ENDS, OPENINGS
from tests.unit.relay.upstreams import JSON, SSE, Wire, chunk, head, whole

_TURNS = 30
_MODELS = "abcdef"
_MARK = ', "cache_control": {"type": "ephemeral"}'
_UNAVAILABLE = whole(503, b"", JSON, b"Connection: close")


class SessionTestCase(RouterTestCase):
    """Six models, of which each refresh makes another the best."""

    def setUp(self) -> None:
        """Rank them for the first time."""
        super().setUp()
        self.refreshes = 0
        self.drift()

    def drift(self) -> None:
        """Let a refresh make the next model the best."""
        first = self.refreshes % len(_MODELS)
        self.refreshes += 1
        ranked = _MODELS[first:] + _MODELS[:first]
        self.snapshot = snapshot(**dict.fromkeys(ranked, 1_000_000))
        self.best = ranked[0]

    def session(self, client: str, name: str = "s-1", *, model: str = ALIAS) -> Session:
        """Return a session of a client about a task of its own."""
        return Session(shape(client), name, f"task of {name}", model)

    def asks(self, session: Session, turn: int) -> Wire:
        """Send one request; the connection on which it went up."""
        body = session.body(turn)
        self.ask("", *session.fields, body=body, dialect=session.dialect, path=session.path)
        return self.wire

    def answers(self, session: Session, wire: Wire, *, broken: bool = False) -> None:
        """Answer a request, or break its answer after commit."""
        opening, content = OPENINGS[session.dialect], CONTENTS[session.dialect]
        # Each turn has a connection of its own: the clients' origins differ.
        wire.says(head(200, SSE, b"Connection: close"), chunk(opening + content))
        if broken:
            wire.resets()
        else:
            wire.says(chunk(ENDS[session.dialect]), chunk(b""))

    def turn(self, session: Session, turn: int, *failing: bytes) -> tuple[str, Affinity]:
        """Answer one request, after these failed attempts; the model and the affinity."""
        wire = self.asks(session, turn)
        for failure in failing:
            wire.says(failure)
            wire = self.wire
        self.answers(session, wire)
        record = self.records[-1]
        assert record.model is not None and record.affinity is not None, record
        self.assertEqual(record.outcome, "completed")
        return record.model, record.affinity

    def played(self, *sessions: Session, turns: int = _TURNS) -> list[list[tuple[str, Affinity]]]:
        """Play sessions in turn, with a refresh between any two of their requests."""
        played: list[list[tuple[str, Affinity]]] = [[] for _ in sessions]
        for turn in range(turns):
            for session, got in zip(sessions, played, strict=True):
                got.append(self.turn(session, turn))
                self.drift()
        return played

    def assert_kept(self, played: Sequence[tuple[str, Affinity]], model: str) -> None:
        """Assert that a session began anew with this model, and kept it."""
        self.assertEqual(played, [(model, MISS), *[(model, HIT)] * (len(played) - 1)])


class ShapeTests(SessionTestCase):
    """The shapes are what they say."""

    def test_sessions(self) -> None:
        """Requests grow by tool calls, and repeat what came before but for marks."""
        for client in CLIENTS:
            session = self.session(client)
            self.assertIn("placeholder", session.shape["origin"])
            bodies = [json.loads(session.body(turn)) for turn in range(_TURNS)]
            talks = [body.pop(session.shape["list"]) for body in bodies]
            self.assertTrue(all(body == bodies[0] for body in bodies), client)
            texts = [json.dumps(talk).replace(_MARK, "") for talk in talks]
            for shorter, longer in pairwise(texts):
                self.assertTrue(longer.startswith(shorter[:-1]), client)
            last = texts[-1]
            calls = last.count("toolu_") + last.count("call_")
            self.assertGreaterEqual(calls, 2 * (_TURNS - 1), client)
            self.assertNotIn("{", last.replace('{"', "").replace('{\\"', ""), client)

    def test_nothing_names_it(self) -> None:
        """Without what names it, a session's id occurs nowhere."""
        for client in CLIENTS:
            session = self.session(client).nameless
            self.assertNotIn(b"s-1", b"".join(chain(*session.fields)))
            self.assertNotIn(b'"s-1', session.body(3))
            self.assertNotIn(b"session_s-1", session.body(3))


class SessionTests(SessionTestCase):
    """Sessions of each client."""

    def test_thirty_turns(self) -> None:
        """A session keeps its model over thirty turns with tool calls."""
        for client in CLIENTS:
            best = self.best
            (played,) = self.played(self.session(client))
            self.assert_kept(played, best)
            self.build()

    def test_by_their_opening(self) -> None:
        """It does so where nothing names it, although marks move within its messages."""
        for client in CLIENTS:
            best = self.best
            (played,) = self.played(self.session(client).nameless)
            self.assert_kept(played, best)
            self.build()

    def test_without_stickiness_they_drift(self) -> None:
        """The feed drifts indeed: with `X-Autopilot-Affinity: off` every turn has another model."""
        session = self.session("opencode")
        off = (b"X-Autopilot-Affinity", b"off")
        for turn in range(2 * len(_MODELS)):
            self.ask("", *session.fields, off, body=session.body(turn))
            self.wire.says(whole(200, b"{}"))
            self.assertEqual((self.records[-1].model, self.records[-1].affinity), (self.best, None))
            self.drift()

    def test_sent_up(self) -> None:
        """What names a session goes to the platform unchanged, in the head and in the body."""
        for client in CLIENTS:
            session = self.session(client)
            self.turn(session, 1)
            sent = self.wire.value()
            for name, value in session.fields:
                self.assertIn(b"\r\n%b: %b\r\n" % (name, value), sent)
            body = session.body(1).replace(ALIAS.encode(), b"a", 1)
            self.assertTrue(sent.endswith(b"\r\n\r\n" + body), client)
            self.build()

    def test_two_under_one_key(self) -> None:
        """Two conversations under one key keep two models, of whichever clients they are."""
        for one in CLIENTS:
            for other in CLIENTS:
                for nameless in (False, True):
                    sessions = [self.session(one, "s-1"), self.session(other, "s-2")]
                    if nameless:
                        sessions = [each.nameless for each in sessions]
                    best = self.best
                    first, second = self.played(*sessions, turns=4)
                    self.assert_kept(first, best)
                    self.assertNotEqual(second[0][0], best)
                    self.assert_kept(second, second[0][0])
                    self.build()

    def test_subagents(self) -> None:
        """Parallel subagents stay with their session if they have its id, else each by itself."""
        for client in CLIENTS:
            parent, best = self.session(client), self.best
            agents = [parent.subagent("one"), parent.subagent("two")]
            main, first, second = self.played(parent, *agents, turns=6)
            self.assert_kept(main, best)
            if parent.shape["subagents"]["together"]:
                self.assertEqual([*first, *second], [(best, HIT)] * 12, client)
            else:
                self.assertEqual(len({main[0][0], first[0][0], second[0][0]}), 3, client)
                self.assert_kept(first, first[0][0])
                self.assert_kept(second, second[0][0])
            self.build()

    def test_in_flight_together(self) -> None:
        """Subagents under one id share its model also while all of their requests are in flight."""
        parent, best = self.session("claude_code"), self.best
        self.turn(parent, 0)
        agents = [parent, parent.subagent("one"), parent.subagent("two")]
        wires = []
        for agent in agents:
            self.drift()
            wires.append(self.asks(agent, 1))
        self.assertEqual([wire.models for wire in wires], [[best]] * 3)
        for agent, wire in reversed([*zip(agents, wires, strict=True)]):
            self.answers(agent, wire)
            self.assertEqual((self.records[-1].model, self.records[-1].affinity), (best, HIT))

    def test_lists(self) -> None:
        """In a list the order rules: each turn has its head, whatever is the best."""
        for client in CLIENTS:
            (played,) = self.played(self.session(client, model="c,a"), turns=8)
            self.assert_kept(played, "c")
            self.build()

    def test_failure_moves(self) -> None:
        """By alias a failure moves a conversation to the best one then, where it stays."""
        for client in CLIENTS:
            session, other, best = self.session(client), self.session(client, "s-2"), self.best
            self.played(session, turns=3)
            own, _ = self.turn(other, 0)
            self.drift()
            after = self.best
            self.assertEqual(len({best, own, after}), 3)
            self.assertEqual(self.turn(session, 3, _UNAVAILABLE), (after, MOVED))
            self.assertIs(self.records[-1].affinity_why, AffinityWhy.FAILED)
            for turn in range(4, 10):
                self.drift()
                self.assertEqual(self.turn(session, turn), (after, HIT))
                self.assertEqual(self.turn(other, turn), (own, HIT))
            self.build()

    def test_a_break_moves(self) -> None:
        """So does an answer that breaks after commit, from the next turn on."""
        for client in CLIENTS:
            session, first = self.session(client), self.best
            self.played(session, turns=2)
            self.answers(session, self.asks(session, 2), broken=True)
            self.assertEqual((self.records[-1].model, self.records[-1].affinity), (first, HIT))
            after = self.best
            self.assertEqual(self.turn(session, 3), (after, MISS))
            self.assertIs(self.records[-1].affinity_why, AffinityWhy.FAILED)
            self.drift()
            self.assertEqual(self.turn(session, 4), (after, HIT))
            self.build()

    def test_a_break_in_a_list(self) -> None:
        """In a list the item behind the broken one is the first, for `LIST_RETRY_MS`."""
        for client in CLIENTS:
            session = self.session(client, model="c,a,b")
            self.answers(session, self.asks(session, 0), broken=True)
            self.assertEqual(self.turn(session, 1), ("a", MISS))
            self.clock.advance(9.9)
            self.assertEqual(self.turn(session, 2), ("a", HIT))
            self.clock.advance(0.1)
            self.assertEqual(self.turn(session, 3), ("c", MOVED))
            self.build()

    def test_failure_in_a_list(self) -> None:
        """In a list it falls back, keeps the fallback for `LIST_RETRY_MS`, and returns."""
        for client in CLIENTS:
            session = self.session(client, model="c,a,b")
            self.played(session, turns=2)
            self.assertEqual(self.turn(session, 2, _UNAVAILABLE), ("a", MOVED))
            self.drift()
            self.clock.advance(9.9)
            self.assertEqual(self.turn(session, 3), ("a", HIT))
            self.clock.advance(0.1)
            self.assertEqual(self.turn(session, 4), ("c", MOVED))
            self.assertIs(self.records[-1].affinity_why, AffinityWhy.LISTED)
            self.assertEqual(self.turn(session, 5), ("c", HIT))
            self.build()
