"""Every reason and every outcome, provoked once, and the same text wherever it appears."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from unittest.mock import patch

from prometheus_client.parser import text_string_to_metric_families

from autopilot.observability.metrics import Metrics
from autopilot.observability.records import Outcome
from autopilot.relay.sse_guard import GuardLevel
from tests.unit.relay.routers import RouterTestCase
from tests.unit.relay.upstreams import DONE, JSON, ROLE, STOP, TOKEN, chunk, head, whole

ERROR = b'{"error":{"message":"out of memory"}}'


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


class Ending(NamedTuple):
    """A way in which an exchange ends."""

    outcome: Outcome
    does: Callable[[OutcomeTests], None]
    status: int | None = 200


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
    Ending(Outcome.UPSTREAM_BROKEN, _breaks),
    Ending(Outcome.UPSTREAM_IDLE, _falls_silent),
    Ending(Outcome.UPSTREAM_ERROR, _reports_an_error),
    Ending(Outcome.UPSTREAM_SPLICED, _begins_again),
    Ending(Outcome.SHUT_DOWN, _is_stopped),
)
NOT_PLANNED = (_refused, _no_room, _draining)
NOT_YET = {Outcome.UPSTREAM_EMPTY: "no exchange ends so yet"}


class OutcomeTests(ReasonTestCase):
    """How an exchange ended."""

    def test_each(self) -> None:
        """Each ending has its outcome, its status, and its place in the metrics."""
        for ending in ENDINGS:
            self.build()
            ending.does(self)
            where = (ending.outcome, ending.does.__name__)
            self.assertEqual((self.record.outcome, self.record.status), ending[::2], where)
            self.assertEqual(self.counted("outcomes_total", outcome=ending.outcome), 1, where)
            refusal = self.clients[-1].down.refusal
            code = None if refusal is None else refusal.code
            self.assertEqual(self.record.code, code, where)
            responses = {
                "endpoint": "/v1/chat/completions",
                "mode": "none" if ending.does in NOT_PLANNED else "direct",
                "status": str(ending.status or 0),
                "code": code or "none",
            }
            self.assertEqual(self.counted("responses_total", **responses), 1, where)

    def test_closed(self) -> None:
        """No outcome is missing from the table."""
        self.assertEqual({each.outcome for each in ENDINGS} | set(NOT_YET), set(Outcome))
