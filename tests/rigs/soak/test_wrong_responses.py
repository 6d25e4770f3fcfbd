"""Each single fault of a response, and the judge's complaint about it."""

from __future__ import annotations

from dataclasses import replace

from tests.rigs.soak.cases import (
    EVENT,
    FOREIGN,
    TIMES,
    TWO,
    JudgeTestCase,
    ask,
    attempt,
    broken,
    case,
    failing,
    own_error,
    plain,
    speech,
    streamed,
)
from tests.rigs.soak.comparison import cut_stream
from tests.rigs.soak.judge import judge
from tests.rigs.soak.observations import Case, Seen
from tests.rigs.soak.requests import Refused


class WrongAnswerTests(JudgeTestCase):
    """Responses that no client may receive."""

    def test_faked_end(self) -> None:
        """A truncated response with a clean end."""
        for act in (streamed(speech()), plain(speech())):
            cut = attempt(broken(act, 40))
            found = case(ask(), cut, whole=True, body=cut.said)
            self.assert_wrong(found, "a clean end of a truncated response")

    def test_foreign_bytes(self) -> None:
        """A response to another request, by its head or in one event."""
        foreign = speech(nonce=FOREIGN)
        body = b"".join(foreign.events())
        good = attempt(streamed(speech()))
        self.assert_wrong(case(ask(), good, body=body), f"another request: [b'{FOREIGN}']")
        mixed = good.said.replace(speech().content()[2], foreign.content()[2])
        self.assert_wrong(case(ask(), good, body=mixed), "bytes of another request")
        found = case(ask(), good)
        assert found.seen is not None
        fields = {**found.seen.fields, "x-soak-nonce": [FOREIGN]}
        self.assert_wrong(case(ask(), good, fields=fields), f"the response to {FOREIGN}")

    def test_other_models_bytes(self) -> None:
        """A response with one event of another model."""
        said = attempt(streamed(speech())).said
        mixed = said.replace(speech().content()[1], speech(TWO).content()[1])
        self.assert_wrong(case(ask(), attempt(streamed(speech())), body=mixed), "different from")

    def test_bytes_lost_or_doubled(self) -> None:
        """A missing byte or a surplus event, in complete and in truncated responses."""
        good, cut = attempt(streamed(speech())), attempt(broken(streamed(speech()), 40))
        event = speech().content()[1]
        for at in range(0, len(cut.said), 17):
            lost = good.said[:at] + good.said[at + 1 :]
            self.assert_wrong(case(ask(), good, body=lost), "different from byte")
            rest = cut.said[:at] + cut.said[at + 1 :] + b"\n\n" + EVENT
            self.assertTrue(judge(case(ask(), cut, body=rest), TIMES).complaints, at)
        doubled = good.said.replace(event, event * 2)
        self.assert_wrong(case(ask(), good, body=doubled), "different from byte")
        self.assert_wrong(case(ask(), good, body=good.said * 2), "different from byte")

    def test_no_error_event(self) -> None:
        """A truncated stream without an error event; a superfluous error event."""
        cut = attempt(broken(streamed(speech()), 40))
        self.assert_wrong(case(ask(), cut, body=cut.said), "no error event")
        self.assert_wrong(case(ask(), cut, body=cut.said + EVENT), "inside another event")
        done = attempt(broken(streamed(speech()), 1))
        self.assert_wrong(case(ask(), done, body=done.said + EVENT), "after [DONE]")
        good = attempt(streamed(speech()))
        self.assert_wrong(
            case(ask(), good, body=good.said + EVENT, whole=False),
            "complete response was truncated",
        )
        plain_cut = attempt(broken(plain(speech()), 9))
        told = plain_cut.said + b"\n\n" + EVENT
        self.assert_wrong(case(ask(), plain_cut, body=told), "different from byte")

    def test_lost_before_the_event(self) -> None:
        """The response's own blank line does not count as the router's."""
        said = b"data: 1\n\ndata: 2\n\n"
        self.assertTrue(cut_stream(said[:-2] + EVENT, said, lossy=False))
        self.assertTrue(cut_stream(said + b"\n\n" + EVENT, said, lossy=False))
        self.assertFalse(cut_stream(said + EVENT, said, lossy=False))

    def test_left(self) -> None:
        """A disconnected client has a prefix of the response, and perhaps of an error event."""
        good, cut = attempt(streamed(speech())), attempt(broken(streamed(speech()), 40))
        for tried, body in (
            (good, good.said[:300] + EVENT[:20]),
            (good, good.said[:300] + good.said[301:320]),
            (cut, cut.said[:-1] + b"\n\n" + EVENT[:30]),
            (cut, cut.said + EVENT[10:30]),
        ):
            found = case(ask(), tried, body=body, whole=False, left=True)
            self.assert_wrong(found, "different from byte")

    def test_complete(self) -> None:
        """A client that requested complete responses receives no truncated one."""
        cut = attempt(broken(streamed(speech()), 40))
        self.assert_wrong(case(ask(commit="complete"), cut), "commit was `complete`")

    def test_let_go(self) -> None:
        """The router ends a response that was still arriving."""
        act = streamed(speech())
        early = attempt(act, sent=act.wire_size // 2, played=False, by_router=True)
        self.assert_wrong(case(ask(), early), "still arriving")
        self.assert_right(case(ask(), replace(early, ended=4.0)), "cut, told")

    def test_own_error(self) -> None:
        """An error with a candidate left, with the wrong reason, or of an unknown kind."""
        tried = attempt(failing("connection_lost"))
        lost = ("connection_lost",)
        for code, status, complaint in (
            ("upstream_connect_error", 502, "gave up after 1 attempts with 2"),
            ("upstream_first_body_byte_timeout", 504, "timeout after connection_lost"),
            ("upstream_connect_error", 500, "not allowed here"),
            ("overloaded", 503, "not allowed here"),
        ):
            found = own_error(ask(), code, status, tried, failovers=lost)
            self.assert_wrong(found, complaint)

    def test_failure_relayed(self) -> None:
        """A failure relayed although another model was left."""
        self.assert_wrong(case(ask(), attempt(failing())), "relayed with candidates left")

    def test_fields(self) -> None:
        """Fields that name another request, model or number of attempts."""
        good = attempt(streamed(speech()))
        right = case(ask(), good).seen
        assert right is not None
        for name, value in (
            ("x-request-id", FOREIGN),
            ("x-soak-model", TWO),
            ("x-chutes-autopilot-selected", TWO),
            ("x-chutes-autopilot-attempts", "2"),
        ):
            fields = {**right.fields, name: [value]}
            self.assertTrue(judge(case(ask(), good, fields=fields), TIMES).complaints, name)

    def test_refused(self) -> None:
        """A refused request gets another error, or reaches the upstream."""
        asked = ask(refused=Refused(400, "invalid_json"))
        other = own_error(asked, "unknown_model", 400, failovers=())
        self.assert_wrong(other, "expected 400 invalid_json")
        passed = own_error(asked, "invalid_json", 400, attempt(failing()), failovers=())
        self.assert_wrong(passed, "reached the upstream")

    def test_nothing(self) -> None:
        """No response, one that never ends, and one that is not HTTP."""
        self.assert_wrong(Case(ask(), [], Seen(1.0, 2.0)), "without a response")
        self.assert_wrong(Case(ask(), [], Seen(1.0, 60.0, late=True)), "did not end in time")
        self.assert_wrong(Case(ask(), [], Seen(1.0, 2.0, wrong="?")), "not HTTP")
