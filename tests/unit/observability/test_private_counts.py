"""The counters and gauges of private mode."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.sealed_stream import PlainEvent, StreamFault
from autopilot.attestation.verdict import Refusal
from autopilot.attestation.verdicts import NoEvidence
from autopilot.observability.instruments import Instrument
from autopilot.observability.private_counts import (
    FAULTS,
    KEY_STATES,
    PLAIN_EVENTS,
    REASONS,
    VERIFIED,
    DiscoveryOutcome,
    PrivateCounts,
    PrivateOutcome,
    private_gauges,
    private_outcome,
)
from autopilot.observability.records import Outcome

PREFIX = "chutes_autopilot_private_"


def samples(instruments: tuple[Instrument, ...]) -> dict[str, float]:
    """Return the samples by their names and labels."""
    lines = "".join(each.exposition() for each in instruments).splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name.removeprefix(PREFIX): float(value) for name, _, value in pairs}


class PrivateCountsTests(SynchronousTestCase):
    """What is counted, and under which labels."""

    def setUp(self) -> None:
        """Start with nothing counted."""
        self.counts = PrivateCounts()

    def counted(self) -> dict[str, float]:
        """Return the samples that are not zero, but those of buckets."""
        return {
            name: value
            for name, value in samples(self.counts.instruments()).items()
            if value and "_bucket" not in name
        }

    def test_the_first_one_is_an_increase(self) -> None:
        """All series exist before anything has happened, at zero."""
        found = samples(self.counts.instruments())
        self.assertEqual(set(found.values()), {0.0})
        self.assertIn('attestations_total{reason="tcb_status"}', found)
        self.assertIn('discoveries_total{outcome="limited"}', found)
        self.assertIn('requests_total{outcome="unavailable"}', found)
        self.assertIn('stream_faults_total{fault="bad_seal"}', found)

    def test_each_is_counted(self) -> None:
        """Requests, discoveries, verifications with their time, and faults have their series."""
        self.counts.request(PrivateOutcome.REJECTED)
        self.counts.discovery(DiscoveryOutcome.FOUND)
        self.counts.attestation(VERIFIED, 0.5)
        self.counts.attestation(Refusal.TCB_STATUS, 1.5)
        self.counts.stream_fault(StreamFault.REPEATED)
        self.counts.stream_fault(PlainEvent.USAGE, 3)
        self.assertEqual(
            self.counted(),
            {
                'requests_total{outcome="rejected"}': 1,
                'discoveries_total{outcome="found"}': 1,
                'attestations_total{reason="verified"}': 1,
                'attestations_total{reason="tcb_status"}': 1,
                'stream_faults_total{fault="repeated"}': 1,
                'stream_faults_total{fault="outer_usage"}': 3,
                "attestation_seconds_count": 2,
                "attestation_seconds_sum": 2,
            },
        )

    def test_refusals(self) -> None:
        """A request that is refused before its exchange counts, if the error is one of these."""
        for code in ("private_unsupported", "private_unavailable", "unknown_model", None):
            self.counts.refusal(code)
        self.assertEqual(
            self.counted(),
            {
                'requests_total{outcome="unsupported"}': 1,
                'requests_total{outcome="unavailable"}': 1,
            },
        )

    def test_no_label_is_new(self) -> None:
        """What is in none of the sets is counted as other."""
        before = samples(self.counts.instruments()).keys()
        self.counts.attestation("https://10.0.0.1/", 0.05)
        self.counts.stream_fault("outer_space")
        self.counts.stream_fault("\n")
        self.assertEqual(samples(self.counts.instruments()).keys(), before)
        self.assertEqual(self.counted()['attestations_total{reason="other"}'], 1)
        self.assertEqual(self.counted()['stream_faults_total{fault="other"}'], 2)

    def test_the_sets_are_those_of_attestation(self) -> None:
        """Each reason, fault and kind of event has a label of its own."""
        self.assertEqual(REASONS, (VERIFIED, *Refusal, *NoEvidence))
        self.assertEqual(FAULTS, tuple(StreamFault))
        self.assertEqual(PLAIN_EVENTS, tuple(PlainEvent))


class OutcomeTests(SynchronousTestCase):
    """How a request ended, from its record."""

    def test_errors_of_private_mode(self) -> None:
        """Each code of private mode has an outcome, and no other has one of them."""
        for code, expected in (
            ("private_unsupported", PrivateOutcome.UNSUPPORTED),
            ("private_rejected", PrivateOutcome.REJECTED),
            ("private_unavailable", PrivateOutcome.UNAVAILABLE),
            ("private_reply_invalid", PrivateOutcome.REPLY_INVALID),
            ("private_completed", PrivateOutcome.FAILED),
            ("total_timeout", PrivateOutcome.FAILED),
        ):
            self.assertIs(private_outcome(Outcome.REFUSED, code), expected, code)

    def test_every_outcome(self) -> None:
        """Without an error of the router, the outcome decides; only one is a success."""
        found = {each: private_outcome(each, None) for each in Outcome}
        self.assertEqual(
            [each for each in Outcome if found[each] is PrivateOutcome.COMPLETED],
            [Outcome.COMPLETED],
        )
        self.assertIs(found[Outcome.CLIENT_STALLED], PrivateOutcome.CLIENT_LEFT)
        self.assertIs(found[Outcome.CLIENT_GONE], PrivateOutcome.CLIENT_LEFT)
        self.assertIs(found[Outcome.UPSTREAM_BROKEN], PrivateOutcome.INTERRUPTED)
        self.assertIs(found[Outcome.SHUT_DOWN], PrivateOutcome.INTERRUPTED)
        self.assertIs(found[Outcome.RELAYED_ERROR], PrivateOutcome.FAILED)


class GaugeTests(SynchronousTestCase):
    """The gauges."""

    def test_states_and_expiry(self) -> None:
        """Each state has its number; what has no collateral has no sample of its end."""
        read = private_gauges(lambda: {"verified": 3, "unheard_of": 1}, lambda: -2.5)
        found = samples(read)
        self.assertEqual(len(found), len(KEY_STATES) + 1)
        self.assertEqual(found['keys{state="verified"}'], 3)
        self.assertEqual(found['keys{state="refused"}'], 0)
        self.assertEqual(found["collateral_expiry_seconds"], -2.5)
        self.assertNotIn("collateral_expiry_seconds", samples(private_gauges(dict, lambda: None)))
