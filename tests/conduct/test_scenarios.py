"""Every stub scenario through the router: relayed, replaced by the next model, or truncated."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from stub_backend.scenarios import OF_EACH_API
from stub_backend.scenarios import SCENARIOS as ALL
from tests.conduct.expected import ALONE, CUT, NEXT, RELAYED
from tests.conduct.seen import CUT as CUT_END
from tests.conduct.seen import WHOLE, Seen
from tests.conduct.served import Served, direct

# The scenarios with a form of their own in each API have their own table: endings.py.
SCENARIOS = ALL.keys() - {each.name for each in OF_EACH_API}
_TOKENS = 24
_OK = "stub/ok"
# Its body contains the router's request, which a client without a router does not send.
_ECHO = "echo-headers"
# Bytes by which the last thing said is known where it is replaced and not only followed.
_REPLACED = {
    "bare-json-tail": b'{"error":',
    "bare-json-first": b'{"error":',
    "gave-up": b'"finish_reason":"abort"',
}
# Broken inside an event, in which nothing can be said.
_INSIDE = "cut-mid-event"
# It breaks after its terminator, which nothing may follow.
_SAID_DONE = "wrong-length"
# Ended by an error event of its own, to which nothing is added.
_SAYS_IT_ITSELF = {"error-event-mid", "error-event-first"}
# Without another model these end before anything was said, in good order or not.
_EMPTY = {"trace-envelope", "role-only-then-end", "empty-stream"}
_BREAK_OFF = {"bare-json-first", "role-only-then-drop"} | _SAYS_IT_ITSELF | _EMPTY
_DONE = b"data: [DONE]\n\n"
# Fields of the connection, not of the answer.
_OWN = {"server", "date", "connection", "transfer-encoding", "content-length"}
_NOT_PASSED = {"keep-alive", "proxy-authenticate", "alt-svc", "x-secret-hop"}


class TableTests(SynchronousTestCase):
    """The table itself."""

    def test_complete(self) -> None:
        """Each scenario is in one place."""
        places = [*RELAYED, *CUT, *NEXT]
        self.assertEqual(sorted(places), sorted(SCENARIOS))
        self.assertTrue(set(ALONE) <= set(NEXT))


class ConductTests(SynchronousTestCase):
    """The response to each scenario."""

    def setUp(self) -> None:
        """Start one router for all scenarios."""
        self.served = Served(tokens=_TOKENS)

    def ask(self, model: str) -> tuple[Seen, list[str]]:
        """Request a stream; return the response and the failover reasons."""
        seen = self.served.ask(model)
        return seen, [each.reason for each in self.served.records[-1].failovers]

    def said(self, model: str) -> Seen:
        """Return the stub's response to the last call of a model without a router."""
        return direct(self.served.calls(model)[-1], _TOKENS)

    def assert_passed(self, seen: Seen, said: Seen, name: str) -> None:
        """Check that status, body and fields are the stub's."""
        if name != _ECHO:
            ends = said.body.find(_DONE) + len(_DONE) if _DONE in said.body else None
            self.assertEqual((seen.status, seen.given), (said.status, said.body[:ends]), name)
            is_platform_error = said.status >= 400 and said.body.startswith(b'{"detail":')
            self.assertEqual(seen.body != seen.given, is_platform_error, name)
        self.assertEqual(seen.end, WHOLE if _DONE in said.body else said.end, name)
        passed = {n: v for n, v in said.headers.items() if n not in _OWN | _NOT_PASSED}
        self.assertEqual(passed, {n: seen.headers.get(n) for n in passed}, name)
        self.assertTrue(_NOT_PASSED.isdisjoint(seen.headers), name)

    def assert_cut(self, seen: Seen, said: Seen, name: str) -> None:
        """Check for the bytes sent, then an error event if possible, and an unclean end."""
        came = said.body
        if name == _SAID_DONE:
            self.assertEqual((seen.body, seen.end), (came, WHOLE))
        elif name == _INSIDE:
            self.assertEqual((seen.body, seen.end), (came, "cut"))
        elif name in _SAYS_IT_ITSELF:
            self.assertEqual((seen.body, seen.end), (came, CUT_END))
        else:
            if name in _REPLACED:
                came = came[: came.index(_REPLACED[name])]
                came = came[: came.rfind(b"\n\n") + 2] if b"\n\n" in came else b""
            self.assertTrue(seen.body.startswith(came), name)
            self.assertEqual(seen.body[len(came) :].count(b"\n\n"), 1, name)
            self.assertEqual(seen.end, CUT_END, name)
            code = "upstream_empty" if name in _EMPTY else "upstream_stream_interrupted"
            self.assertEqual(seen.code, code, name)

    def test_relayed(self) -> None:
        """The client receives the first model's response; no other model is called."""
        for name in sorted(RELAYED):
            seen, failovers = self.ask(f"stub/{name},{_OK}")
            self.assertEqual(failovers, [], name)
            self.assert_passed(seen, self.said(f"stub/{name}"), name)
            self.assertEqual(seen.headers["x-chutes-autopilot-selected"], f"stub/{name}")

    def test_next(self) -> None:
        """The second model's complete answer is relayed, and the reason is recorded."""
        for name, reason in NEXT.items():
            seen, failovers = self.ask(f"stub/{name},{_OK}")
            self.assertEqual(failovers, [reason], name)
            self.assertEqual((seen.status, seen.models, seen.tokens), (200, {_OK}, _TOKENS), name)
            self.assert_passed(seen, self.said(_OK), name)
            self.assertEqual(seen.headers["x-chutes-autopilot-attempts"], "2", name)

    def test_cut(self) -> None:
        """A broken stream ends with an error event, and without a second answer."""
        for name in sorted(CUT):
            seen, failovers = self.ask(f"stub/{name},{_OK}")
            self.assertEqual((failovers, seen.status), ([], 200), name)
            self.assert_cut(seen, self.said(f"stub/{name}"), name)

    def test_idle_for_too_long(self) -> None:
        """The 408 by which a server closes a kept connection never reaches a client."""
        self.ask(_OK)
        seen, failovers = self.ask("stub/408-reused")
        self.assertEqual((seen.status, seen.tokens, failovers), (200, _TOKENS, []))
        calls = self.served.calls("stub/408-reused")
        self.assertEqual(
            [(each.status, each.reused) for each in calls], [(408, True), (200, False)]
        )

    def test_all_failed(self) -> None:
        """If no candidate is left, the response names the attempts and forbids a retry."""
        for name, reason in NEXT.items():
            self.setUp()  # a model that fails in each round would cool
            last = "stub/503-engine" if name == "503-cold" else "stub/503-cold"
            seen, failovers = self.ask(f"stub/{name},{last}")
            self.assertEqual(failovers, [reason, "status_503"], name)
            tried = f"stub/{name}={reason},{last}=status_503"
            self.assertEqual(seen.headers["x-chutes-autopilot-tried"], tried)
            self.assertEqual(seen.headers["x-should-retry"], "false", name)

    def test_alone(self) -> None:
        """Without another model, the client receives the response, or an error of the router."""
        for name in sorted(SCENARIOS):
            seen, failovers = self.ask(f"stub/{name}")
            self.assertEqual(failovers[1:], [], name)
            self.assertNotIn("x-chutes-autopilot-tried", seen.headers, name)
            if name in ALONE:
                self.assertEqual((seen.status, seen.code), ALONE[name], name)
            elif name in CUT or name in _BREAK_OFF:
                self.assert_cut(seen, self.said(f"stub/{name}"), name)
            else:
                self.assert_passed(seen, self.said(f"stub/{name}"), name)
