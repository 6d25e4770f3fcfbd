"""The limits of accounts in gauges and log."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.account_limits import MAX_AGE, MAX_KEYS, AccountLimits

PREFIX = "chutes_autopilot_"


def quota(remaining: int, total: int = 2000) -> dict[bytes, bytes]:
    """Return the platform's fields for a quota."""
    return {
        b"x-chutes-quota-total": b"%d" % total,
        b"x-chutes-quota-used": b"%d" % (total - remaining),
        b"x-chutes-quota-remaining": b"%d" % remaining,
    }


def key(number: int) -> bytes:
    """Return the hash of a client."""
    return number.to_bytes(4, "big") + b"h" * 12


class AccountLimitsTests(SynchronousTestCase):
    """What is kept, shown and logged."""

    def setUp(self) -> None:
        """Start at some time, without a statement."""
        self.clock = Clock()
        self.clock.advance(5000.0)
        self.limits = AccountLimits(self.clock.seconds)
        self.logged = EventLoggingObserver()
        globalLogPublisher.addObserver(self.logged)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged)

    def states(self, number: int, fields: dict[bytes, bytes]) -> None:
        """Let an upstream state something for a client."""
        self.limits.note(key(number), fields, self.clock.seconds())

    def samples(self) -> dict[str, float]:
        """Return the samples by their names and labels."""
        lines = "".join(each.exposition() for each in self.limits.instruments()).splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name.removeprefix(PREFIX): float(value) for name, _, value in pairs}

    def lines(self) -> list[str]:
        """Return what was logged since the last call."""
        lines = [formatEvent(event) for event in self.logged]
        self.assertEqual({event["log_level"] for event in self.logged} - {LogLevel.warn}, set())
        self.logged._events.clear()
        return lines

    def test_nothing(self) -> None:
        """Without a statement there is no sample; nor is there one for garbage."""
        self.assertEqual(self.samples(), {})
        self.states(1, {b"x-chutes-rl-user": b"many", b"x-chutes-quota-total": b"-1"})
        self.assertEqual((self.samples(), self.lines()), ({}, []))

    def test_one_key(self) -> None:
        """The gauges are what was stated last; no label says for which key."""
        self.states(1, quota(1800) | {b"x-chutes-rl-user": b"inf", b"x-chutes-rl-chute": b"5"})
        self.states(1, quota(1799) | {b"x-chutes-rl-user": b"inf", b"x-chutes-rl-chute": b"6"})
        self.assertEqual(
            self.samples(),
            {
                "quota_limit": 2000,
                "quota_used": 201,
                "quota_remaining": 1799,
                'rate_limit{scope="user"}': float("inf"),
                'rate_limit{scope="chute"}': 6,
            },
        )

    def test_other_servers(self) -> None:
        """OpenAI's fields have scopes of their own."""
        self.states(
            1,
            {
                b"x-ratelimit-limit-requests": b"60",
                b"x-ratelimit-remaining-requests": b"59",
                b"x-ratelimit-limit-tokens": b"150000",
                b"x-ratelimit-remaining-tokens": b"149984",
            },
        )
        self.assertEqual(
            self.samples(),
            {
                'rate_limit{scope="requests"}': 60,
                'rate_limit{scope="tokens"}': 150000,
                'rate_limit_remaining{scope="requests"}': 59,
                'rate_limit_remaining{scope="tokens"}': 149984,
            },
        )

    def test_several_keys(self) -> None:
        """The quota is that of the key nearest its end, and of rates the least."""
        self.states(1, quota(50, 100) | {b"x-chutes-rl-user": b"60"})
        self.states(2, quota(400, 2000) | {b"x-chutes-rl-user": b"600"})
        self.states(3, {b"x-chutes-rl-user": b"100"})
        samples = self.samples()
        self.assertEqual((samples["quota_remaining"], samples["quota_limit"]), (400, 2000))
        self.assertEqual(samples['rate_limit{scope="user"}'], 60)

    def test_by_key(self) -> None:
        """With `KEY_METRICS` each key has its own samples, named by four bytes of its hash."""
        self.limits.by_key = True
        self.states(1, quota(50) | {b"x-chutes-rl-user": b"60"})
        self.states(0xABCDEF01, quota(400))
        samples = self.samples()
        self.assertEqual(samples['quota_remaining{key="00000001"}'], 50)
        self.assertEqual(samples['quota_remaining{key="abcdef01"}'], 400)
        self.assertEqual(samples['rate_limit{key="00000001",scope="user"}'], 60)
        self.assertNotIn(b"h".hex() * 2, "".join(samples))

    def test_age(self) -> None:
        """What was stated an hour ago no longer counts."""
        self.limits.by_key = True
        self.states(1, quota(50))
        self.clock.advance(MAX_AGE - 1)
        self.states(2, quota(60))
        self.assertEqual(self.samples()['quota_remaining{key="00000001"}'], 50)
        self.clock.advance(1)
        self.assertEqual(set(self.samples().values()), {2000, 1940, 60})

    def test_bounded(self) -> None:
        """Further keys count as one, of which the one nearest its end is shown."""
        self.limits.by_key = True
        for number in range(MAX_KEYS):
            self.states(number, quota(1000))
        for number, remaining, shown in (
            (500, 900, 900),
            (501, 950, 900),
            (502, 800, 800),
            (502, 850, 850),
            (500, 840, 840),
            (503, 2000, 840),
        ):
            self.states(number, quota(remaining))
            samples = self.samples()
            self.assertEqual(samples['quota_remaining{key="other"}'], shown, number)
            self.assertEqual(len(samples), 3 * (MAX_KEYS + 1))
        self.clock.advance(MAX_AGE)
        self.states(503, quota(700))
        self.assertEqual(set(self.samples().values()), {2000, 1300, 700})
        self.assertEqual(len(self.limits._accounts), 1)

    def test_warning(self) -> None:
        """Below a tenth the log warns, once an hour for each key, without naming it."""
        self.states(1, quota(200))
        self.assertEqual(self.lines(), [])
        self.states(1, quota(199))
        self.assertEqual(
            self.lines(),
            [
                (
                    "The quota of a key is nearly used up: 199 of 2000 requests are left. The"
                    " platform charges or rejects requests beyond it."
                )
            ],
        )
        self.clock.advance(3599)
        self.states(1, quota(198))
        self.assertEqual(self.lines(), [])
        self.states(2, quota(0))
        self.clock.advance(1)
        self.states(1, quota(197))
        self.states(2, quota(0))
        self.assertEqual([line.split()[9] for line in self.lines()], ["0", "197"])

    def test_warning_by_key(self) -> None:
        """With `KEY_METRICS` it names the key as the metrics do; the others share one warning."""
        self.limits.by_key = True
        for number in range(MAX_KEYS):
            self.states(number, quota(1000))
        self.states(7, quota(1))
        self.states(1000, quota(1))
        self.states(1001, quota(1))
        self.assertEqual(
            [line.partition(" is ")[0] for line in self.lines()],
            ["The quota of the key 00000007", "The quota of the key other"],
        )

    def test_no_quota(self) -> None:
        """Without an end there is no warning."""
        for fields in (
            {b"x-chutes-quota-total": b"inf", b"x-chutes-quota-remaining": b"1"},
            {b"x-chutes-quota-total": b"0", b"x-chutes-quota-remaining": b"0"},
            {b"x-chutes-quota-remaining": b"0"},
            {b"x-ratelimit-remaining-requests": b"0"},
        ):
            self.states(1, fields)
        self.assertEqual(self.lines(), [])
