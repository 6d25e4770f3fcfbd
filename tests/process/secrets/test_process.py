"""A real process leaks no secret, whatever happens to it.

One router for each way to log goes through everything that can happen to requests and feeds, each
part of which contains a canary. Bugs are installed as well. Then all that it wrote (standard output
and error, and all files) and all its responses are searched.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.failure_reason import FailureReason
from tests.process.secrets import mistakes
from tests.process.secrets.battery import Battery
from tests.process.secrets.client import relayed
from tests.process.secrets.stage import Stage
from tests.unit.web.responses import Response

_CLOSED = {FailureReason.CONNECT_REFUSED, FailureReason.CONNECT_TIMEOUT}
_NAMED = {FailureReason.DNS_ERROR, FailureReason.TLS_ERROR}
# Not every machine has a network without a route, and test_proxies.py looks for a proxy's secrets;
# statuses differ in nothing but their number.
_UNSEEN = {FailureReason.CONNECT_ERROR, FailureReason.PROXY_ERROR} | {
    FailureReason(f"status_{status}")
    for status in range(500, 600)
    if status not in (500, 502, 503, 504, 520, 521, 522, 523, 524, 529)
}
# No request of these is private; tests/conduct/test_private_canaries.py looks for those secrets.
_PRIVATE = {
    FailureReason.NOT_ATTESTED,
    FailureReason.DISCOVERY,
    FailureReason.NONCE_REFUSED,
    FailureReason.INSTANCE_GONE,
    FailureReason.NOT_SERVED,
    FailureReason.REPLY_INVALID,
}
# None of these has a key of the operator's; tests/conduct/test_fallbacks.py looks for its secrets.
_FALLBACK = {FailureReason.STATUS_402, FailureReason.CODED}
_REASON = re.compile(r'failover_reason_total\{reason="([^"]+)"')


class ProcessTests(SynchronousTestCase):
    """One run for each way to log."""

    def stage(
        self, *twistd: str, feeds: bool = True, named: bool = False, **settings: str
    ) -> Stage:
        """Return a stage for a router with these settings."""
        folder = Path(self.mktemp()).absolute()
        stage = Stage(folder, *twistd, feeds=feeds, named=named, **settings)
        self.addCleanup(stage.close)
        return stage

    def assert_tight(self, stage: Stage) -> None:
        """Check that no secret leaked, and that the bugs were triggered."""
        self.assert_silent(stage)
        self.assert_answers(stage)
        self.assertGreaterEqual(stage.log().count(b"MistakeError"), len(mistakes.NAMES))

    def assert_silent(self, stage: Stage) -> None:
        """Check that its output contains no canary."""
        scanner = stage.secrets.everywhere
        for name, written in stage.output().items():
            self.assertEqual(scanner.found(written), [], name)

    def assert_answers(self, stage: Stage) -> None:
        """Check that its own responses contain no canary, except for an unknown model's name.

        Responses of the platform may contain what the platform sent, but nothing that only the
        router knows.
        """
        everywhere, in_answers = stage.secrets.everywhere, stage.secrets.in_answers
        model = stage.secrets.model.core.encode()
        for cause, answer in stage.answers:
            head = b"\r\n".join(b"%b: %b" % field for field in answer.fields)
            body = answer.body.replace(model, b"") if _names_it(answer) else answer.body
            scanner = in_answers if relayed(answer) else everywhere
            self.assertEqual(scanner.found(head + b"\r\n" + body), [], cause)

    def assert_thorough(self, stage: Stage, *elsewhere: FailureReason) -> None:
        """Check that everything happened: responses of both kinds, and every failover reason.

        ``elsewhere`` are the reasons that only another stage can have.
        """
        of_platform = {cause for cause, answer in stage.answers if relayed(answer)}
        self.assertGreater(len(of_platform), 100)
        metrics = [answer.body.decode() for cause, answer in stage.answers if cause == "metrics"]
        possible = set(FailureReason) - _UNSEEN - _PRIVATE - _FALLBACK - set(elsewhere)
        self.assertEqual(possible - set(_REASON.findall(metrics[-1])), set())

    def test_text(self) -> None:
        """Text on standard output, at the most verbose level."""
        stage = self.stage(LOG_LEVEL="debug", LOG_FORMAT="text")
        Battery(stage, brief=False).run()
        self.assert_tight(stage)
        self.assert_thorough(stage, *_NAMED, FailureReason.TOTAL_DEADLINE)
        self.assertGreater(stage.log().count(b" autopilot.requests: "), 200)

    def test_json(self) -> None:
        """JSON in a file, at the most verbose level."""
        how = "--logfile=router.log"
        stage = self.stage(
            how,
            named=True,
            LOG_LEVEL="debug",
            LOG_FORMAT="json",
            FAILOVER_POLICY="open",
            # Shorter than the pause before a model is tried again after its engine's own 429.
            TOTAL_DEADLINE_MS="950",
        )
        Battery(stage, brief=False).run()
        self.assert_tight(stage)
        self.assert_thorough(stage, *_CLOSED)
        written = stage.output()["router.log"]
        self.assertGreater(written.count(b'"logger":"autopilot.requests"'), 200)

    def assert_all_tight(self, *stages: Stage) -> None:
        """Check several routers at once, with the quick parts only."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda stage: Battery(stage, brief=True).run(), stages))
        for stage in stages:
            self.assert_tight(stage)

    def test_info_and_warn(self) -> None:
        """The levels info and warn, with stream usage on and off."""
        self.assert_all_tight(
            self.stage(LOG_LEVEL="info", LOG_FORMAT="json", SSE_GUARD="strict"),
            self.stage(LOG_LEVEL="warn", LOG_FORMAT="text", SSE_GUARD="off"),
        )

    def test_error_and_critical(self) -> None:
        """The levels error and critical, at which bugs are logged and little else."""
        self.assert_all_tight(
            self.stage(LOG_LEVEL="error", LOG_FORMAT="json", COMMIT="byte"),
            self.stage(LOG_LEVEL="critical", LOG_FORMAT="text"),
        )

    def test_unreachable_feeds(self) -> None:
        """The URLs of unreachable feeds appear neither in the log nor on a page."""
        stage = self.stage(feeds=False, LOG_LEVEL="debug")
        Battery(stage, brief=True).run_without_feeds()
        self.assertIn(b"Feed catalog not refreshed", stage.log())
        self.assert_silent(stage)
        self.assert_answers(stage)


def _names_it(answer: Response) -> bool:
    """Return whether the response is the error that names the unknown model."""
    return answer.status == 400 and b'"unknown_model"' in answer.body
