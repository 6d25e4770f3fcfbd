"""Tests of the evidence poller: its schedule, what it stores, and stopping."""

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
from autopilot.process.hold_watch import Activity
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
    """Return evidence of one instance."""
    evidence = [instance_evidence(model.name, nonce)]
    return succeed(FetchedResponse(200, json.dumps(body(evidence, ["gone"])).encode()))


def replaying(model: Model, nonce: str) -> Deferred[FetchedResponse]:
    """Return the same evidence for every nonce."""
    return good(model, "ab" * 32)


def says(answer: FetchedResponse) -> Reply:
    """Return the same response for every fetch."""
    return lambda _model, _nonce: succeed(answer)


class AttestationTestCase(SynchronousTestCase):
    """A poller whose fetches and clock the test controls."""

    def setUp(self) -> None:
        """Make a catalog of two TEE models, one that is not, and one where it is unknown."""
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
        self.activity = Activity()
        self.attestation = self.made(REFRESH)
        self.addCleanup(lambda: self.attestation.stop())
        self.events = EventLoggingObserver()
        globalLogPublisher.addObserver(self.events)
        self.addCleanup(globalLogPublisher.removeObserver, self.events)

    permitted = True

    def made(self, refresh: float) -> EvidencePoller:
        """Return a poller with this interval."""
        numbers = count()
        return EvidencePoller(
            self.clock,
            self.fetch,
            lambda: self.catalog,
            refresh,
            lambda: self.jitter,
            lambda: f"{next(numbers):064x}",
            self.activity,
            lambda: self.permitted,
        )

    def fetch(self, model: Model, nonce: str) -> Deferred[FetchedResponse]:
        """Record a fetch, and complete it."""
        self.asked.append((self.clock.seconds(), model.name))
        self.nonces.append(nonce)
        return self.reply(model, nonce)

    def passes(self, seconds: float) -> None:
        """Let time pass, in steps."""
        self.clock.pump([SPACING / 2] * round(seconds / SPACING * 2))

    def known(self, name: str = "tee/one") -> ModelEvidence:
        """Return the finding of a model."""
        return self.attestation.findings()[name]

    def state(self, name: str = "tee/one") -> str:
        """Return a model's state as the status page shows it."""
        return str(self.known(name).finding)


class PaceTests(AttestationTestCase):
    """The schedule of fetches."""

    def test_one_at_a_time(self) -> None:
        """TEE models are fetched one after another, once each, after an initial pause."""
        self.attestation.start()
        self.attestation.start()
        self.assertEqual(self.asked, [])
        self.passes(600)
        self.assertEqual(self.asked, [(30.0, "tee/one"), (60.0, "tee/two")])

    def test_not_permitted(self) -> None:
        """A fetch that is not permitted waits for a poll at which it is."""
        self.permitted = False
        self.attestation.start()
        self.passes(100)
        self.assertEqual((self.asked, self.state()), ([], "not-fetched"))
        self.permitted = True
        self.passes(60)
        self.assertEqual([name for _, name in self.asked], ["tee/one", "tee/two"])

    def test_activity(self) -> None:
        """The reading of evidence is noted for the watch on the reactor."""
        self.attestation.start()
        self.passes(31)
        self.assertEqual(self.activity.latest, ("reading evidence", 30.0))

    def test_refresh(self) -> None:
        """Each model is fetched again after the interval, with a new nonce."""
        self.attestation.start()
        self.passes(REFRESH - 30)
        self.assertEqual(len(self.asked), 2)
        self.passes(120)
        self.assertEqual(self.asked[2:], [(REFRESH + 30, "tee/one"), (REFRESH + 60, "tee/two")])
        self.assertEqual(len(set(self.nonces)), 4)

    def test_off(self) -> None:
        """An interval of 0 fetches and schedules nothing."""
        self.attestation = self.made(0)
        self.attestation.start()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.state(), "not-fetched")
        self.successResultOf(self.attestation.stop())

    def test_no_catalog(self) -> None:
        """Without a catalog nothing is fetched; polling begins with the first one."""
        self.catalog, catalog = None, self.catalog
        self.attestation.start()
        self.passes(300)
        self.assertEqual((self.asked, self.attestation.findings()), ([], {}))
        self.catalog = catalog
        self.passes(60)
        self.assertEqual(len(self.asked), 2)

    def test_slow_answer(self) -> None:
        """During a slow fetch no second one starts."""
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
        """A transient failure is retried before the usual interval, but not soon."""
        self.reply = lambda _model, _nonce: fail(FetchError(NETWORK, "connection refused"))
        self.attestation.start()
        self.passes(REFRESH)
        mine = [at for at, name in self.asked if name == "tee/one"]
        gaps = {later - earlier for earlier, later in pairwise(mine)}
        self.assertEqual(gaps, {REFRESH / 6})

    def test_refusals(self) -> None:
        """A model without evidence is fetched less often than usual."""
        self.reply = says(OUTDATED)
        self.attestation.start()
        self.passes(2 * REFRESH)
        self.assertEqual(len(self.asked), 2)
        self.passes(60)
        self.assertEqual(len(self.asked), 4)

    def test_limit(self) -> None:
        """A 429 pauses all fetches, for longer each time, until the next other response."""
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
        """At least 30 s pass between two fetches, whatever happens."""
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
    """Stored findings, and their lifetime."""

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
        """The status page gets fixed words, counts and a growing age."""
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
        """A transient failure is reported beside the earlier finding, which expires in time."""
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
        """Without an earlier finding the last transient failure is reported."""
        self.reply = says(DOWN)
        self.attestation.start()
        self.passes(30)
        self.reply = lambda _model, _nonce: fail(FetchError(NETWORK, "connection refused"))
        self.passes(REFRESH / 6)
        self.assertEqual(self.state(), "evidence-unavailable (unreachable)")
        self.assertEqual(self.known().missed, None)

    def test_refusal_replaces(self) -> None:
        """A response without evidence takes effect at once."""
        self.attestation.start()
        self.passes(60)
        self.reply = says(OUTDATED)
        self.passes(REFRESH)
        self.assertEqual(self.state(), "evidence-unavailable (runtime-too-old)")

    def test_replay(self) -> None:
        """Evidence repeated under another nonce is void, the third time too."""
        self.reply = replaying
        self.attestation.start()
        self.passes(60)
        self.assertEqual(self.state(), "evidence-present-unverified")
        self.passes(REFRESH)
        self.assertEqual(self.state(), "evidence-unavailable (replayed)")
        self.passes(3 * REFRESH)
        self.assertEqual(self.state(), "evidence-unavailable (replayed)")

    def test_replay_after_a_gap(self) -> None:
        """A response without evidence in between does not make a replay valid."""
        self.reply = replaying
        self.attestation.start()
        self.passes(60)
        self.reply = says(OUTDATED)
        self.passes(REFRESH)
        self.reply = replaying
        self.passes(2 * REFRESH)
        self.assertEqual(self.state(), "evidence-unavailable (replayed)")

    def test_other_chute(self) -> None:
        """A name taken over by another chute starts without a finding."""
        self.attestation.start()
        self.passes(60)
        self.catalog = Catalog.of([Model("tee/one", "another", tee=True)])
        self.assertEqual(self.state(), "not-fetched")
        self.passes(30)
        self.assertEqual(len(self.asked), 3)
        self.assertEqual(self.state(), "evidence-present-unverified")

    def test_gone(self) -> None:
        """A model that leaves the catalog is forgotten, even if it returns."""
        self.attestation.start()
        self.passes(60)
        self.catalog, catalog = Catalog.of([]), self.catalog
        self.passes(60)
        self.assertEqual(self.attestation._histories, {})
        self.catalog = catalog
        self.assertEqual(self.state(), "not-fetched")

    def test_not_a_tee_any_more(self) -> None:
        """The catalog's current mark counts."""
        self.attestation.start()
        self.passes(60)
        self.catalog = Catalog.of([Model("tee/one", "1", tee=False)])
        self.assertEqual(self.state(), "no-tee")

    def test_small(self) -> None:
        """Of a response only a few hashes are stored."""
        self.attestation.start()
        self.passes(60)
        self.assertLess(len(repr(self.attestation._histories["tee/one"])), 600)

    def test_log(self) -> None:
        """A state is logged when it changes, without anything from the response."""
        self.attestation.start()
        self.passes(2 * REFRESH)
        said = [each for each in self.events if "attestation" in each["log_namespace"]]
        self.assertEqual([each["model"] for each in said], ["tee/one", "tee/two"])
        self.assertEqual({each["log_level"] for each in said}, {LogLevel.info})
        self.assertFalse([each for each in said if re.search(r"[0-9a-f]{32}|\\x", str(each))])


class EndTests(AttestationTestCase):
    """Stopping, and internal errors."""

    def test_stop(self) -> None:
        """Stopping leaves nothing scheduled, and keeps the findings."""
        self.attestation.start()
        self.passes(30)
        self.successResultOf(self.attestation.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.state(), "evidence-present-unverified")
        self.successResultOf(self.attestation.stop())

    def test_stop_cancels(self) -> None:
        """Stopping cancels a fetch in flight and waits for its end."""
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
        """A response after the cancellation is discarded."""
        self.reply = lambda _model, _nonce: Deferred(lambda asked: asked.callback(OUTDATED))
        self.attestation.start()
        self.passes(30)
        self.successResultOf(self.attestation.stop())
        self.assertEqual(self.state(), "not-fetched")

    def test_mistake(self) -> None:
        """An internal error is logged at a limited rate, and polling continues."""
        self.reply = lambda _model, _nonce: fail(ZeroDivisionError("secret"))
        self.attestation.start()
        self.passes(600)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.state(), "evidence-unavailable (unreadable-answer)")
        self.assertEqual(len(self.asked), 2)

    def test_mistake_before_asking(self) -> None:
        """An internal error before a fetch is logged, and polling continues."""
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
        """Evidence made in debug mode is reported as unavailable."""
        evidence = [instance_evidence("a", "ab" * 32, Form(attributes=1))]
        self.reply = says(FetchedResponse(200, json.dumps(body(evidence, [])).encode()))
        self.attestation.start()
        self.passes(30)
        self.assertEqual(self.known().report()["reason"], "debug-mode")
