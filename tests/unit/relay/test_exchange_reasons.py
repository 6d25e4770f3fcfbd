"""Every reason and every outcome, provoked once, and the same text wherever it appears."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from unittest.mock import patch

from OpenSSL import SSL
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.error import ConnectionRefusedError, DNSLookupError, NoRouteError

from autopilot.http.connect_proxy import ProxyError
from autopilot.http.error_bodies import TRIED
from autopilot.observability.metrics import Metrics
from autopilot.observability.records import Outcome
from autopilot.relay.errors import BY_REASON
from autopilot.relay.sse_guard import GuardLevel
from autopilot.routing.commit import Commit
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.retry_policy import Policy
from tests.unit.relay.private_failures import FAILURES, ONCE_MORE, UNSENT
from tests.unit.relay.routers import CONNECT_TIMEOUT, TIMEOUTS, RouterTestCase, snapshot
from tests.unit.relay.upstreams import DONE, JSON, ROLE, STOP, TOKEN, chunk, head, whole

HTML = b"text/html"
ERROR = b'{"error":{"message":"out of memory"}}'
ERROR_EVENT = b"data: " + ERROR + b"\n\n"
OWN_ERROR = b'data: {"error":{"message":"too long","code":400}}\n\n'
GAVE_UP = TOKEN.replace(b'"delta"', b'"finish_reason":"abort","delta"')


class ReasonTestCase(RouterTestCase):
    """A router whose records are counted as the router counts them."""

    def counted(self, name: str, **labels: str) -> float:
        """Return the value of a metric after the one request."""
        metrics = Metrics("0")
        metrics.request(self.record, "abc")
        return sum(
            sample.value
            for family in text_string_to_metric_families(metrics.text().decode())
            for sample in family.samples
            if sample.name == f"chutes_autopilot_{name}" and sample.labels == labels
        )


def _refuses(error: Exception) -> Callable[[ReasonTests], None]:
    def does(test: ReasonTests) -> None:
        test.upstreams.refusing, test.upstreams.refusal = 1, error
        test.ask("a,b")

    return does


def _answers(*pieces: bytes, ends: str = "") -> Callable[[ReasonTests], None]:
    """Return a first attempt with this response, after which the connection ``ends``."""

    def does(test: ReasonTests) -> None:
        test.ask("a,b")
        test.wire.says(*pieces)
        if ends:
            getattr(test.wire, ends)()

    return does


def _answers_in_full(*pieces: bytes, ends: str = "") -> Callable[[ReasonTests], None]:
    """Return the same for a client that wants its answer in full or not at all."""

    def does(test: ReasonTests) -> None:
        test.build(commit=Commit.COMPLETE)
        _answers(*pieces, ends=ends)(test)

    return does


def _is_too_late(*pieces: bytes) -> Callable[[ReasonTests], None]:
    """Return a first attempt with this response, and nothing more until its time is over."""

    def does(test: ReasonTests) -> None:
        _answers_in_full(*pieces)(test)
        test.clock.advance(13)

    return does


def _is_plain_and_silent(test: ReasonTests) -> None:
    test.ask("a,b", stream=False)
    test.clock.advance(TIMEOUTS.plain_failover_after)


def _never_connects(test: ReasonTests) -> None:
    test.upstreams.hanging = True
    test.ask("a,b")
    test.upstreams.hanging = False
    test.clock.advance(CONNECT_TIMEOUT)


def _has_no_time(test: ReasonTests) -> None:
    test.build(total=5.0)
    test.ask("a,b")
    test.clock.advance(5)


def _in_open_policy(status: int) -> Callable[[ReasonTests], None]:
    def does(test: ReasonTests) -> None:
        test.build(policy=Policy.OPEN)
        _answers(whole(status, b"no", HTML))(test)

    return does


def _detail(text: str) -> bytes:
    return b'{"detail":"%b"}' % text.encode()


REASONS: tuple[tuple[str, Callable[[ReasonTests], None]], ...] = (
    ("dns_error", _refuses(DNSLookupError())),
    ("connect_refused", _refuses(ConnectionRefusedError())),
    ("connect_error", _refuses(NoRouteError())),
    ("connect_timeout", _never_connects),
    ("proxy_error", _refuses(ProxyError())),
    ("tls_error", _refuses(SSL.Error())),
    ("connection_lost", _answers(ends="resets")),
    ("connection_lost", _answers(b"HTTP/1.1 200", ends="closes")),
    ("protocol_error", _answers(b"SSH-2.0-x\r\n")),
    ("header_timeout", _is_too_late()),
    ("first_body_byte_timeout", _is_too_late(head())),
    ("first_body_byte_timeout", _is_too_late(head(), chunk(ROLE))),
    ("plain_timeout", _is_plain_and_silent),
    ("stalled", _is_too_late(head(), chunk(TOKEN))),
    ("error_event", _answers(head(), chunk(ERROR_EVENT))),
    ("error_event", _answers(whole(200, ERROR, JSON))),
    (
        "gave_up",
        _answers(head(), chunk(GAVE_UP)),
    ),
    ("no_terminator", _answers(head(), chunk(ROLE), chunk(b""))),
    ("cut", _answers(head(), chunk(ROLE), ends="resets")),
    ("invalid_event", _answers_in_full(head(), chunk(b"data: {\n\n"))),
    ("empty", _answers(head(), chunk(ROLE + DONE))),
    ("empty", _answers(whole(200, b"", JSON))),
    ("status_503", _answers(whole(503, b"no", HTML))),
    ("status_429", _in_open_policy(429)),
    ("status_500", _answers(whole(500, _detail("boom"), JSON))),
    *((f"status_{status}", _in_open_policy(status)) for status in range(500, 600)),
    ("capacity", _answers(whole(429, _detail("Infrastructure is at maximum capacity"), JSON))),
    ("context", _answers(whole(400, _detail("maximum context length is 1000 tokens"), JSON))),
    ("not_found", _answers(whole(404, _detail("model not found: a"), JSON))),
    ("total_deadline", _has_no_time),
)


class ReasonTests(ReasonTestCase):
    """Why an attempt failed."""

    def test_each(self) -> None:
        """The record, the metric, and the field for the client have the same text."""
        for reason, does in REASONS:
            self.build()
            self.snapshot = snapshot(a=1000, b=2000)
            does(self)
            if self.clients[-1].down.ended is None:
                self.wire.says(whole(503, b"no", HTML))
            with self.subTest(reason):
                self.assertEqual(self.record.failovers[0].reason, reason)
                self.assertEqual(self.tried[0], f"a={reason}")
                again = sum(each.reason == reason for each in self.record.failovers)
                self.assertEqual(self.counted("failover_reason_total", reason=reason), again)

    @property
    def tried(self) -> list[str]:
        """Return the items of ``x-chutes-autopilot-tried``."""
        down = self.clients[-1].down
        field = down.field(TRIED) if down.refusal is None else down.refusal.tried
        assert field is not None
        return field.decode().split(",")

    def test_closed(self) -> None:
        """No reason is missing from the table, or from that of private exchanges.

        The tests of fallbacks have the 402, and those of the operator's keys what is coded.
        """
        tried = {reason for reason, _ in REASONS} | {each.reason for each in FAILURES}
        self.assertEqual(tried | {*UNSENT, ONCE_MORE, "status_402", "coded"}, set(FailureReason))

    def test_errors(self) -> None:
        """With no candidate left the client gets the error of the reason, or the response."""
        codes = {
            "upstream_connect_error": (
                *("dns_error", "connect_refused", "connect_error", "connect_timeout"),
                *("proxy_error", "tls_error", "connection_lost", "protocol_error"),
            ),
            "upstream_header_timeout": ("header_timeout",),
            "upstream_first_body_byte_timeout": ("first_body_byte_timeout",),
            "upstream_stream_interrupted": (
                *("stalled", "error_event", "gave_up", "no_terminator", "cut", "invalid_event"),
                "coded",
            ),
            "upstream_total_timeout": ("total_deadline",),
        }
        expected = {reason: code for code, reasons in codes.items() for reason in reasons}
        self.assertEqual({reason: error.code for reason, error in BY_REASON.items()}, expected)


class Ending(NamedTuple):
    """A way in which an exchange ends."""

    outcome: Outcome
    does: Callable[[OutcomeTests], None]
    status: int | None = 200
    reason: str | None = None


def _says(*pieces: bytes) -> Callable[[OutcomeTests], None]:
    def does(test: OutcomeTests) -> None:
        test.ask("a")
        test.wire.says(*pieces)

    return does


def _refused(test: OutcomeTests) -> None:
    test.ask("d")


def _no_room(test: OutcomeTests) -> None:
    test.build(max_active=0)
    test.ask("a")


def _draining(test: OutcomeTests) -> None:
    test.proxy.draining = True
    test.ask("a")


def _waiting(test: OutcomeTests) -> None:
    test.ask("a")
    test.proxy.shut_down()


def _unreachable(test: OutcomeTests) -> None:
    test.upstreams.refusing = 1
    test.ask("a")


def _silent(test: OutcomeTests) -> None:
    test.ask("a")
    test.clock.advance(60)


def _faulty(test: OutcomeTests) -> None:
    with patch("autopilot.relay.exchange.commit_policy", side_effect=ZeroDivisionError):
        test.ask("a")
        test.wire.says(head())
    test.flushLoggedErrors(ZeroDivisionError)


def _streams(test: OutcomeTests) -> None:
    test.ask("a")
    test.wire.says(head(), chunk(TOKEN))


def _leaves_early(test: OutcomeTests) -> None:
    test.ask("a")
    test.clients[-1].leaves()


def _leaves_late(test: OutcomeTests) -> None:
    _streams(test)
    test.clients[-1].leaves()


def _reads_nothing(test: OutcomeTests) -> None:
    _streams(test)
    assert test.clients[-1].down.producer is not None
    test.clients[-1].down.producer.pauseProducing()
    test.clock.advance(test.config.timeouts.idle)


def _breaks(test: OutcomeTests) -> None:
    _streams(test)
    test.wire.resets()


def _falls_silent(test: OutcomeTests) -> None:
    _streams(test)
    test.clock.advance(test.config.timeouts.idle)


def _reports_an_error(test: OutcomeTests) -> None:
    _streams(test)
    test.wire.says(chunk(ERROR + b"\n"))


def _begins_again(test: OutcomeTests) -> None:
    test.build(guard=GuardLevel.STRICT)
    test.ask("a")
    test.wire.says(head(), chunk(TOKEN), chunk(ROLE))


def _is_stopped(test: OutcomeTests) -> None:
    _streams(test)
    test.proxy.shut_down()


ENDINGS = (
    Ending(Outcome.COMPLETED, _says(head(), chunk(TOKEN), chunk(STOP + DONE), chunk(b""))),
    Ending(Outcome.COMPLETED, _says(whole(200, b"{}", JSON))),
    Ending(Outcome.COMPLETED, _says(whole(302, b"")), 302),
    Ending(Outcome.RELAYED_ERROR, _says(whole(400, b"{}", JSON)), 400),
    Ending(Outcome.RELAYED_ERROR, _says(whole(503, b"{}", JSON)), 503),
    Ending(Outcome.RELAYED_ERROR, _says(head(422, JSON), chunk(ERROR), chunk(b"")), 422),
    Ending(Outcome.REFUSED, _refused, 400),
    Ending(Outcome.REFUSED, _no_room, 503),
    Ending(Outcome.REFUSED, _draining, 503),
    Ending(Outcome.REFUSED, _waiting, 503),
    Ending(Outcome.FAILED, _unreachable, 502),
    Ending(Outcome.FAILED, _silent, 504),
    Ending(Outcome.FAILED, _faulty, 500),
    Ending(Outcome.CLIENT_GONE, _leaves_early, None),
    Ending(Outcome.CLIENT_GONE, _leaves_late),
    Ending(Outcome.CLIENT_STALLED, _reads_nothing),
    Ending(Outcome.RELAYED_ERROR, _says(head(), chunk(OWN_ERROR))),
    Ending(Outcome.UPSTREAM_BROKEN, _breaks, reason="cut"),
    Ending(
        Outcome.UPSTREAM_BROKEN,
        _says(head(), chunk(TOKEN), chunk(b"")),
        reason="no_terminator",
    ),
    Ending(Outcome.UPSTREAM_IDLE, _falls_silent, reason="stalled"),
    Ending(Outcome.UPSTREAM_ERROR, _reports_an_error, reason="error_event"),
    Ending(
        Outcome.UPSTREAM_ERROR,
        _says(head(), chunk(TOKEN), chunk(ERROR_EVENT), chunk(b"")),
        reason="error_event",
    ),
    Ending(Outcome.UPSTREAM_ERROR, _says(head(), chunk(TOKEN), chunk(GAVE_UP)), reason="gave_up"),
    Ending(Outcome.UPSTREAM_EMPTY, _says(head(), chunk(ROLE + DONE)), reason="empty"),
    Ending(Outcome.UPSTREAM_EMPTY, _says(whole(200, b"", JSON)), reason="empty"),
    Ending(Outcome.UPSTREAM_EMPTY, _says(head(), chunk(ROLE), chunk(b"")), reason="no_terminator"),
    Ending(Outcome.UPSTREAM_SPLICED, _begins_again, reason="cut"),
    Ending(Outcome.SHUT_DOWN, _is_stopped),
)
NOT_READ = (_no_room, _draining)


class OutcomeTests(ReasonTestCase):
    """How an exchange ended."""

    def test_each(self) -> None:
        """Each ending has its outcome, its status, and its place in the metrics."""
        for ending in ENDINGS:
            self.build()
            ending.does(self)
            where = (ending.outcome, ending.does.__name__)
            self.assertEqual(self.record.outcome, ending.outcome, where)
            self.assertEqual(self.record.status, ending.status, where)
            self.assertEqual(self.counted("outcomes_total", outcome=ending.outcome), 1, where)
            refusal = self.clients[-1].down.refusal
            code = None if refusal is None else refusal.code
            self.assertEqual(self.record.code, code, where)
            responses = {
                "endpoint": "/v1/chat/completions",
                "mode": "none" if ending.does in NOT_READ else "direct",
                "status": str(ending.status or 0),
                "code": code or "none",
            }
            self.assertEqual(self.counted("responses_total", **responses), 1, where)
            self.assertEqual(self.record.reason, ending.reason, where)
            if ending.reason is not None:
                labels = {"model": "a", "reason": ending.reason}
                self.assertEqual(self.counted("broken_streams_total", **labels), 1, where)

    def test_closed(self) -> None:
        """No outcome is missing from the table."""
        self.assertEqual({each.outcome for each in ENDINGS}, set(Outcome))
