"""Each single fault of a response, and the judge's complaint about it."""

from __future__ import annotations

from dataclasses import replace

from tests.rigs.soak.cases import (
    EVENT,
    FOREIGN,
    TIMES,
    TWO,
    JudgeTestCase,
    attempt,
    broken,
    case,
    failing,
    generation,
    own_error,
    plain,
    request,
    streamed,
)
from tests.rigs.soak.comparison import cut_stream, is_finished
from tests.rigs.soak.judge import judge
from tests.rigs.soak.observations import Case, Observed
from tests.rigs.soak.requests import ExpectedError


class WrongAnswerTests(JudgeTestCase):
    """Responses that no client may receive."""

    def test_faked_end(self) -> None:
        """A truncated response with a clean end."""
        for act in (streamed(generation()), plain(generation())):
            cut = attempt(broken(act, 40))
            found = case(request(), cut, whole=True, body=cut.sent_body)
            self.assert_wrong(found, "a clean end of a truncated response")

    def test_foreign_bytes(self) -> None:
        """A response to another request, by its head or in one event."""
        foreign = generation(nonce=FOREIGN)
        body = b"".join(foreign.events())
        good = attempt(streamed(generation()))
        self.assert_wrong(case(request(), good, body=body), f"another request: [b'{FOREIGN}']")
        mixed = good.sent_body.replace(generation().content()[2], foreign.content()[2])
        self.assert_wrong(case(request(), good, body=mixed), "bytes of another request")
        found = case(request(), good)
        assert found.seen is not None
        fields = {**found.seen.fields, "x-soak-nonce": [FOREIGN]}
        self.assert_wrong(case(request(), good, fields=fields), f"the response to {FOREIGN}")

    def test_other_models_bytes(self) -> None:
        """A response with one event of another model."""
        sent_body = attempt(streamed(generation())).sent_body
        mixed = sent_body.replace(generation().content()[1], generation(TWO).content()[1])
        self.assert_wrong(
            case(request(), attempt(streamed(generation())), body=mixed), "different from"
        )

    def test_bytes_lost_or_doubled(self) -> None:
        """A missing byte or a surplus event, in complete and in truncated responses."""
        good, cut = attempt(streamed(generation())), attempt(broken(streamed(generation()), 40))
        event = generation().content()[1]
        for at in range(0, len(cut.sent_body), 17):
            lost = good.sent_body[:at] + good.sent_body[at + 1 :]
            self.assert_wrong(case(request(), good, body=lost), "different from byte")
            rest = cut.sent_body[:at] + cut.sent_body[at + 1 :] + b"\n\n" + EVENT
            self.assertTrue(judge(case(request(), cut, body=rest), TIMES).complaints, at)
        doubled = good.sent_body.replace(event, event * 2)
        self.assert_wrong(case(request(), good, body=doubled), "different from byte")
        self.assert_wrong(case(request(), good, body=good.sent_body * 2), "different from byte")

    def test_no_error_event(self) -> None:
        """A truncated stream without an error event; a superfluous error event."""
        ends = (attempt(broken(streamed(generation()), behind)) for behind in range(1, 1000))
        bodies = (each for each in ends if each.sent_body.endswith(b"\n\n"))
        cut = next(each for each in bodies if not is_finished(each.sent_body))
        self.assert_wrong(case(request(), cut, body=cut.sent_body), "no error event")
        inside = attempt(broken(streamed(generation()), 40))
        body = inside.sent_body + EVENT
        self.assert_wrong(case(request(), inside, body=body), "inside another event")
        body = inside.sent_body + b"\n\n" + EVENT
        self.assert_wrong(case(request(), inside, body=body), "different from byte")
        done = attempt(broken(streamed(generation()), 1))
        self.assert_wrong(case(request(), done, whole=False), "complete response was truncated")
        body = done.sent_body + EVENT
        self.assert_wrong(case(request(), done, body=body), "different from byte")
        self.assertIn("behind a whole answer", cut_stream(body, done.sent_body, lossy=False))
        good = attempt(streamed(generation()))
        self.assert_wrong(
            case(request(), good, body=good.sent_body + EVENT, whole=False),
            "complete response was truncated",
        )
        plain_cut = attempt(broken(plain(generation()), 9))
        observed = plain_cut.sent_body + b"\n\n" + EVENT
        self.assert_wrong(case(request(), plain_cut, body=observed), "different from byte")

    def test_lost_before_the_event(self) -> None:
        """The response's own blank line does not count as the router's."""
        sent_body = b"data: 1\n\ndata: 2\n\n"
        self.assertTrue(cut_stream(sent_body[:-2] + EVENT, sent_body, lossy=False))
        self.assertTrue(cut_stream(sent_body + b"\n\n" + EVENT, sent_body, lossy=False))
        self.assertFalse(cut_stream(sent_body + EVENT, sent_body, lossy=False))

    def test_left(self) -> None:
        """A disconnected client has a prefix of the response, and perhaps of an error event."""
        good, cut = attempt(streamed(generation())), attempt(broken(streamed(generation()), 40))
        for tried, body in (
            (good, good.sent_body[:300] + EVENT[:20]),
            (good, good.sent_body[:300] + good.sent_body[301:320]),
            (cut, cut.sent_body[:-1] + b"\n\n" + EVENT[:30]),
            (cut, cut.sent_body + EVENT[10:30]),
        ):
            found = case(request(), tried, body=body, whole=False, left=True)
            self.assert_wrong(found, "different from byte")

    def test_complete(self) -> None:
        """A client that requested complete responses receives no truncated one."""
        cut = attempt(broken(streamed(generation()), 40))
        self.assert_wrong(case(request(commit="complete"), cut), "commit was `complete`")

    def test_let_go(self) -> None:
        """The router ends a response that was still arriving."""
        act = streamed(generation())
        early = attempt(act, sent=act.wire_size // 2, played=False, by_router=True)
        self.assert_wrong(case(request(), early), "still arriving")
        self.assert_right(case(request(), replace(early, ended=4.0)), "cut, with event")

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
            found = own_error(request(), code, status, tried, failovers=lost)
            self.assert_wrong(found, complaint)

    def test_failure_relayed(self) -> None:
        """A failure relayed although another model was left."""
        self.assert_wrong(case(request(), attempt(failing())), "relayed with candidates left")

    def test_fields(self) -> None:
        """Fields that name another request, model or number of attempts."""
        good = attempt(streamed(generation()))
        right = case(request(), good).seen
        assert right is not None
        for name, value in (
            ("x-request-id", FOREIGN),
            ("x-soak-model", TWO),
            ("x-chutes-autopilot-selected", TWO),
            ("x-chutes-autopilot-attempts", "2"),
        ):
            fields = {**right.fields, name: [value]}
            self.assertTrue(judge(case(request(), good, fields=fields), TIMES).complaints, name)

    def test_refused(self) -> None:
        """A refused request gets another error, or reaches the upstream."""
        asked = request(refused=ExpectedError(400, "invalid_json"))
        other = own_error(asked, "unknown_model", 400, failovers=())
        self.assert_wrong(other, "expected 400 invalid_json")
        passed = own_error(asked, "invalid_json", 400, attempt(failing()), failovers=())
        self.assert_wrong(passed, "reached the upstream")

    def test_nothing(self) -> None:
        """No response, one that never ends, and one that is not HTTP."""
        self.assert_wrong(Case(request(), [], Observed(1.0, 2.0)), "without a response")
        self.assert_wrong(
            Case(request(), [], Observed(1.0, 60.0, late=True)), "did not end in time"
        )
        self.assert_wrong(Case(request(), [], Observed(1.0, 2.0, wrong="?")), "not HTTP")
