"""The patterns find the mistakes that they are for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.deploy.prometheus.exported import samples
from tests.deploy.prometheus.expressions import mistakes

_RIGHT = (
    'sum by (status) (rate(chutes_autopilot_requests_total{job="a"}[5m]))',
    "histogram_quantile(0.9, sum by (le) (rate(chutes_autopilot_attempts_bucket[5m])))",
    "chutes_autopilot_ready_candidates == 0",
    'up{job="a"} == 0',
)
_WRONG = (
    ("rate(chutes_autopilot_request_total[5m])", "no metric chutes_autopilot_request_total"),
    ('rate(chutes_autopilot_requests_total{code="5"}[5m])', "has no label code"),
    ("sum by (model) (rate(chutes_autopilot_requests_total[5m]))", "a label model to group by"),
    ("rate(chutes_autopilot_requests_active[5m])", "is a gauge"),
    ("histogram_quantile(0.9, rate(chutes_autopilot_attempts_sum[5m]))", "has no buckets"),
    ("chutes_autopilot_requests_total > 5", "a counter by itself"),
    ("1 > 0", "no metric"),
)


class ExpressionTests(SynchronousTestCase):
    """Correct and incorrect expressions."""

    def test_right(self) -> None:
        """No mistake is reported."""
        for each in _RIGHT:
            self.assertEqual(mistakes(each, samples()), [], each)

    def test_wrong(self) -> None:
        """One mistake is reported."""
        for each, expected in _WRONG:
            (said,) = mistakes(each, samples())
            self.assertIn(expected, said)
