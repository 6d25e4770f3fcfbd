"""When evidence is asked for, what is remembered of it, and how it all stops."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import count, pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.evidence_poller import (
    LIMITED_PAUSE,
    MAX_PAUSE,
    SPACING,
    EvidencePoller,
    ModelEvidence,
)
from autopilot.attestation.evidence_state import EvidenceState, Reason
from autopilot.http.fetch import FetchedResponse
from autopilot.http.fetch_error import NETWORK, FetchError
from autopilot.routing.catalog import Catalog, Model
from stub_backend.evidence_bodies import Form, body, instance_evidence

REFRESH = 21_600.0
LIMITED = FetchedResponse(429, b'{"detail":"Rate limit exceeded. Try again later."}')
EMPTY = FetchedResponse(200, b'{"evidence":[],"failed_instance_ids":[]}')
OUTDATED = FetchedResponse(
    400, b'{"detail":"Instances requires chutes_version >= 0.6.0 to retrieve"}'
)
DOWN = FetchedResponse(502, b'{"detail":"Attestation service unavailable."}')
Reply = Callable[[Model, str], Deferred[FetchedResponse]]


def good(model: Model, nonce: str) -> Deferred[FetchedResponse]:
    """Evidence of one instance."""
    evidence = [instance_evidence(model.name, nonce)]
    return succeed(FetchedResponse(200, json.dumps(body(evidence, ["gone"])).encode()))


def replaying(model: Model, nonce: str) -> Deferred[FetchedResponse]:
    """The same evidence whatever the nonce."""
    return good(model, "ab" * 32)


def says(answer: FetchedResponse) -> Reply:
    """One and the same answer to every question."""
    return lambda _model, _nonce: succeed(answer)


class AttestationTestCase(SynchronousTestCase):
    """An attestation whose questions are answered, and whose clock is moved, by the test."""

    def setUp(self) -> None:
        """Two TEE models, one that is none, and one of which that is not known."""
        self.clock = Clock()
        self.catalog: Catalog | None = Catalog.of(
            [
                Model("tee/one", "1", tee=True),
                Model("plain", "2", tee=False),
                Model("tee/two", "3", tee=True),
                Model("unknown", "4"),
            ]
        )
        self.reply: Reply = good
        self.asked: list[tuple[float, str]] = []
        self.nonces: list[str] = []
        self.jitter = -1.0
        self.attestation = self.made(REFRESH)
        self.addCleanup(lambda: self.attestation.stop())
        self.events = EventLoggingObserver()
        globalLogPublisher.addObserver(self.events)
        self.addCleanup(globalLogPublisher.removeObserver, self.events)

    def made(self, refresh: float) -> EvidencePoller:
        """An attestation with this interval."""
        numbers = count()
        return EvidencePoller(
            self.clock,
            self.fetch,
            lambda: self.catalog,
            refresh,
            lambda: self.jitter,
            lambda: f"{next(numbers):064x}",
        )

    def fetch(self, model: Model, nonce: str) -> Deferred[FetchedResponse]:
        """Take note of a question, and answer it."""
        self.asked.append((self.clock.seconds(), model.name))
        self.nonces.append(nonce)
        return self.reply(model, nonce)

    def passes(self, seconds: float) -> None:
        """Let time pass, in steps."""
        self.clock.pump([SPACING / 2] * round(seconds / SPACING * 2))

    def known(self, name: str = "tee/one") -> ModelEvidence:
        """What is known of a model."""
        return self.attestation.findings()[name]

    def state(self, name: str = "tee/one") -> str:
        """The state of a model as it is shown."""
        return str(self.known(name).finding)


class PaceTests(AttestationTestCase):
    """How often, and how seldom."""

    def test_one_at_a_time(self) -> None:
        """Not at once, one model after another, each once, and only those in a TEE."""
        self.attestation.start()
        self.attestation.start()
        self.assertEqual(self.asked, [])
        self.passes(600)
        self.assertEqual(self.asked, [(30.0, "tee/one"), (60.0, "tee/two")])

    def test_refresh(self) -> None:
        """Each model again after the interval, under another nonce."""
        self.attestation.start()
        self.passes(REFRESH - 30)
        self.assertEqual(len(self.asked), 2)
        self.passes(120)
        self.assertEqual(self.asked[2:], [(REFRESH + 30, "tee/one"), (REFRESH + 60, "tee/two")])
        self.assertEqual(len(set(self.nonces)), 4)

    def test_off(self) -> None:
        """An interval of 0 asks nothing and schedules nothing."""
        self.attestation = self.made(0)
        self.attestation.start()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.state(), "not-fetched")
        self.successResultOf(self.attestation.stop())

    def test_no_catalog(self) -> None:
        """Without a catalog there is nobody to ask about; once there is one, it begins."""
        self.catalog, catalog = None, self.catalog
        self.attestation.start()
        self.passes(300)
        self.assertEqual((self.asked, self.attestation.findings()), ([], {}))
        self.catalog = catalog
        self.passes(60)
        self.assertEqual(len(self.asked), 2)

    def test_slow_answer(self) -> None:
        """A question that takes long is not joined by another."""
        waiting: Deferred[FetchedResponse] = Deferred()
        self.reply = lambda _model, _nonce: waiting
        self.attestation.start()
        self.passes(300)
        self.assertEqual(len(self.asked), 1)
        self.reply = good
        waiting.callback(OUTDATED)
        self.passes(60)
        self.assertEqual([name for _, name in self.asked], ["tee/one", "tee/two"])

    def test_passing_trouble(self) -> None:
        """Trouble on the way is tried again sooner than usual, but not soon."""
        self.reply = lambda _model, _nonce: fail(FetchError(NETWORK, "connection refused"))
        self.attestation.start()
        self.passes(REFRESH)
        mine = [at for at, name in self.asked if name == "tee/one"]
        gaps = {later - earlier for earlier, later in pairwise(mine)}
        self.assertEqual(gaps, {REFRESH / 6})

    def test_refusals(self) -> None:
        """A model that has no evidence is left in peace for longer than usual."""
        self.reply = says(OUTDATED)
        self.attestation.start()
        self.passes(2 * REFRESH)
        self.assertEqual(len(self.asked), 2)
        self.passes(60)
        self.assertEqual(len(self.asked), 4)

    def test_limit(self) -> None:
        """The platform's limit silences all questions, longer each time, until it is not met."""
        self.catalog = Catalog.of(Model(f"m{n}", None, tee=True) for n in range(400))
        self.reply = says(LIMITED)
        self.attestation.start()
        self.clock.pump([10.0] * 1500)
        times = [at for at, _ in self.asked]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        self.assertEqual(gaps[:5], [LIMITED_PAUSE * 2**n for n in range(5)])
        self.assertEqual(set(gaps[5:]), {MAX_PAUSE})
        self.reply = good
        self.clock.pump([10.0] * 500)
        self.reply = says(LIMITED)
        before = len(self.asked)
        self.clock.pump([10.0] * 20)
        first, second = (at for at, _ in self.asked[before:])
        self.assertEqual(second - first, LIMITED_PAUSE)

    @given(
        st.lists(st.floats(-1, 1), min_size=1),
        st.integers(1, 30),
        st.lists(st.sampled_from([*map(says, (EMPTY, LIMITED, DOWN, OUTDATED))]), min_size=1),
        st.sampled_from([0.1, 60.0, REFRESH]),
    )
    def test_never_too_often(
        self, draws: list[float], models: int, replies: list[Reply], refresh: float
    ) -> None:
        """Whatever happens, 30 s lie between two questions: two in a minute at most."""
        self.clock, self.asked = Clock(), []
        self.catalog = Catalog.of(Model(f"m{n}", None, tee=True) for n in range(models))
        self.attestation = self.made(refresh)
        jitters, answers = count(), count()
        self.attestation._jitter = lambda: draws[next(jitters) % len(draws)]
        self.reply = lambda model, nonce: replies[next(answers) % len(replies)](model, nonce)
        self.attestation.start()
        self.clock.pump([1.0] * 1500)
        times = [0.0, *(at for at, _ in self.asked)]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        self.assertGreaterEqual(min(gaps, default=SPACING), SPACING)
        self.successResultOf(self.attestation.stop())


class MemoryTests(AttestationTestCase):
    """What is known, and for how long."""

    def test_states(self) -> None:
        """Each model of the catalog has a state from the beginning."""
        self.assertEqual(
            {name: str(each.finding) for name, each in self.attestation.findings().items()},
            {
                "tee/one": "not-fetched",
                "plain": "no-tee",
                "tee/two": "not-fetched",
                "unknown": "no-tee",
            },
        )
        self.attestation.start()
        self.passes(30)
        self.assertEqual(self.state(), "evidence-present-unverified")
        self.assertEqual(self.state("tee/two"), "not-fetched")

    def test_report(self) -> None:
        """What the status page gets: fixed words, counts and an age that grows."""
        self.attestation.start()
        self.passes(30)
        self.clock.advance(1.5)
        self.assertEqual(self.known("plain").report(), {"state": "no-tee"})
        self.assertEqual(self.known("tee/two").report(), {"state": "not-fetched"})
        self.assertEqual(
            self.known().report(),
            {
                "state": "evidence-present-unverified",
                "reason": None,
                "age_ms": 1500,
                "instances": 1,
                "failed": 1,
                "gpus": 8,
                "certificate_bound": True,
                "nonces_bound": 0,
                "last_error": None,
            },
        )

    def test_keeps_what_it_had(self) -> None:
        """Trouble on the way does not unsay earlier evidence, but is told, and not for ever."""
        self.attestation.start()
        self.passes(60)
        self.reply = says(DOWN)
        self.passes(REFRESH + 30)
        known = self.known()
        self.assertEqual(known.finding.state, EvidenceState.PRESENT)
        self.assertIs(known.missed, Reason.SERVICE_DOWN)
        self.assertGreater(known.age or 0, REFRESH)
        self.passes(REFRESH)
        self.passes(REFRESH / 3)
        self.assertEqual(self.state(), "evidence-unavailable (attestation-service-down)")
        self.reply = good
        self.passes(REFRESH)
        known = self.known()
        self.assertEqual((known.finding.state, known.missed), (EvidenceState.PRESENT, None))

    def test_trouble_replaces_trouble(self) -> None:
        """Where there never was evidence, the last trouble is the one that is told."""
        self.reply = says(DOWN)
        self.attestation.start()
        self.passes(30)
        self.reply = lambda _model, _nonce: fail(FetchError(NETWORK, "connection refused"))
        self.passes(REFRESH / 6)
        self.assertEqual(self.state(), "evidence-unavailable (unreachable)")
        self.assertEqual(self.known().missed, None)

    def test_refusal_replaces(self) -> None:
        """An answer that there is no evidence counts at once."""
        self.attestation.start()
        self.passes(60)
        self.reply = says(OUTDATED)
        self.passes(REFRESH)
        self.assertEqual(self.state(), "evidence-unavailable (runtime-too-old)")

    def test_replay(self) -> None:
        """Evidence that was seen before, under another nonce, is none; nor is it the third time."""
        self.reply = replaying
        self.attestation.start()
        self.passes(60)
        self.assertEqual(self.state(), "evidence-present-unverified")
        self.passes(REFRESH)
        self.assertEqual(self.state(), "evidence-unavailable (replayed)")
        self.passes(3 * REFRESH)
        self.assertEqual(self.state(), "evidence-unavailable (replayed)")

    def test_replay_after_a_gap(self) -> None:
        """An answer without evidence in between does not make a replay fresh."""
        self.reply = replaying
        self.attestation.start()
        self.passes(60)
        self.reply = says(OUTDATED)
        self.passes(REFRESH)
        self.reply = replaying
        self.passes(2 * REFRESH)
        self.assertEqual(self.state(), "evidence-unavailable (replayed)")

    def test_other_chute(self) -> None:
        """A name that another chute has taken over has no evidence yet, and is asked about anew."""
        self.attestation.start()
        self.passes(60)
        self.catalog = Catalog.of([Model("tee/one", "another", tee=True)])
        self.assertEqual(self.state(), "not-fetched")
        self.passes(30)
        self.assertEqual(len(self.asked), 3)
        self.assertEqual(self.state(), "evidence-present-unverified")

    def test_gone(self) -> None:
        """A model that left the catalog is forgotten, also when it comes back."""
        self.attestation.start()
        self.passes(60)
        self.catalog, catalog = Catalog.of([]), self.catalog
        self.passes(60)
        self.assertEqual(self.attestation._histories, {})
        self.catalog = catalog
        self.assertEqual(self.state(), "not-fetched")

    def test_not_a_tee_any_more(self) -> None:
        """What the catalog says now counts."""
        self.attestation.start()
        self.passes(60)
        self.catalog = Catalog.of([Model("tee/one", "1", tee=False)])
        self.assertEqual(self.state(), "no-tee")

    def test_small(self) -> None:
        """Of an answer no more is kept than a few hashes."""
        self.attestation.start()
        self.passes(60)
        self.assertLess(len(repr(self.attestation._histories["tee/one"])), 600)

    def test_log(self) -> None:
        """A state is logged when it changes, with nothing that was sent."""
        self.attestation.start()
        self.passes(2 * REFRESH)
        said = [each for each in self.events if "attestation" in each["log_namespace"]]
        self.assertEqual([each["model"] for each in said], ["tee/one", "tee/two"])
        self.assertEqual({each["log_level"] for each in said}, {LogLevel.info})
        self.assertFalse([each for each in said if re.search(r"[0-9a-f]{32}|\\x", str(each))])


class EndTests(AttestationTestCase):
    """Stopping, and mistakes."""

    def test_stop(self) -> None:
        """Stopping leaves nothing scheduled, and what was known."""
        self.attestation.start()
        self.passes(30)
        self.successResultOf(self.attestation.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.state(), "evidence-present-unverified")
        self.successResultOf(self.attestation.stop())

    def test_stop_cancels(self) -> None:
        """A question in flight is cancelled, changes nothing, and stopping waits for its end."""
        ended: list[Deferred[FetchedResponse]] = []
        self.reply = lambda _model, _nonce: Deferred(ended.append)
        self.attestation.start()
        self.passes(30)
        self.successResultOf(self.attestation.stop())
        self.assertEqual(len(ended), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.state(), "not-fetched")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_late_answer(self) -> None:
        """An answer that comes although its question was cancelled is not taken."""
        self.reply = lambda _model, _nonce: Deferred(lambda asked: asked.callback(OUTDATED))
        self.attestation.start()
        self.passes(30)
        self.successResultOf(self.attestation.stop())
        self.assertEqual(self.state(), "not-fetched")

    def test_mistake(self) -> None:
        """A bug is logged, does not end the questions, and is not asked for again and again."""
        self.reply = lambda _model, _nonce: fail(ZeroDivisionError("secret"))
        self.attestation.start()
        self.passes(600)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.state(), "evidence-unavailable (unreadable-answer)")
        self.assertEqual(len(self.asked), 2)

    def test_mistake_before_asking(self) -> None:
        """A bug on the way to a question is logged, and the questions go on when it is over."""
        mended = self.catalog
        broken = False

        def catalog() -> Catalog | None:
            if broken:
                raise ZeroDivisionError("secret")
            return mended

        self.attestation = EvidencePoller(
            self.clock, self.fetch, catalog, REFRESH, lambda: self.jitter, lambda: "ab" * 32
        )
        self.attestation.start()
        broken = True
        self.passes(10 * SPACING)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)
        self.assertEqual(self.asked, [])
        broken = False
        self.passes(2 * SPACING)
        self.assertEqual([name for _, name in self.asked], ["tee/one", "tee/two"])
        self.successResultOf(self.attestation.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_debug_domain(self) -> None:
        """Evidence that refutes itself is shown as none."""
        evidence = [instance_evidence("a", "ab" * 32, Form(attributes=1))]
        self.reply = says(FetchedResponse(200, json.dumps(body(evidence, [])).encode()))
        self.attestation.start()
        self.passes(30)
        self.assertEqual(self.known().report()["reason"], "debug-mode")
