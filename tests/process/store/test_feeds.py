"""Three routers that share their feeds over a real server (`FEEDS=shared`)."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.replicas.programs import StoreProcess
from tests.rigs.smoke.client import fetch_json, get
from tests.rigs.smoke.processes import RouterProcess, StubProcess
from tests.rigs.smoke.waiting import until

FEED = "utilization"
INTERVAL = 1
_ROLE = re.compile(r'^chutes_autopilot_feed_role\{feed="utilization",role="(\w+)"\} 1', re.M)
_REFRESHES = re.compile(
    r'^chutes_autopilot_feed_refresh_total\{feed="utilization",outcome="ok"\} (\d+)', re.M
)


class SharedFeedsTests(SynchronousTestCase):
    """One set of routers, to which one thing after the other happens."""

    def setUp(self) -> None:
        """Start the store, the platform and three routers."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        self.store = StoreProcess(folder)
        self.stub = StubProcess("stub", folder, ())
        settings = {
            "STATE_URL": self.store.url,
            "STICKY_HASH_KEY": "a key of these tests, which is long enough",
            "FEEDS": "shared",
            "FEEDS_LEASE_MS": "3000",
            "UTILIZATION_REFRESH_MS": str(INTERVAL * 1000),
            "LOG_LEVEL": "info",
        }
        self.routers = [
            RouterProcess(f"router-{number}", folder, self.stub.port, settings)
            for number in range(3)
        ]
        for each in (self.store, self.stub, *self.routers):
            self.addCleanup(each.kill)
        self.store.start()
        self.stub.start()
        for router in self.routers:
            router.start(wait=False)
        for router in self.routers:
            router.wait_ready()

    def fetches(self) -> int:
        """Return how often the feed has been fetched."""
        log = fetch_json(self.stub.port, "/stub/log")
        return sum(each["path"].startswith("/chutes/utilization") for each in log["requests"])

    def role(self, router: RouterProcess) -> str:
        """Return what a router does for the feed."""
        found = _ROLE.search(get(router.port, "/metrics").finish().body.decode())
        return "" if found is None else found[1]

    def refreshes(self) -> int:
        """Return how many refreshes all routers have counted."""
        texts = (get(each.port, "/metrics").finish().body.decode() for each in self.routers)
        return sum(int(found[1]) for text in texts if (found := _REFRESHES.search(text)))

    def holder(self, routers: list[RouterProcess]) -> RouterProcess:
        """Wait until one of these routers is the holder and the others read; return it."""

        def settled() -> RouterProcess | None:
            roles = [self.role(each) for each in routers]
            if sorted(roles) != ["holder"] + ["reader"] * (len(routers) - 1):
                return None
            return routers[roles.index("holder")]

        return until("one router fetches and the others read", settled)

    def fetched(self, router: RouterProcess) -> tuple[float, float]:
        """Return between which two times the router's data was fetched, by its own account."""
        before = time.monotonic()
        feed = fetch_json(router.port, "/readyz")["feeds"][FEED]
        age = feed["age_ms"] / 1000
        return before - age - 0.001, time.monotonic() - age

    def same_fetch(self) -> bool:
        """Return whether all routers say that their data is of the same fetch."""
        spans = [self.fetched(each) for each in self.routers]
        return max(begin for begin, _ in spans) <= min(end for _, end in spans) + 0.4

    def test_life(self) -> None:
        """One fetches; another takes over from one that is gone; all do without the store."""
        first = self.holder(self.routers)
        refreshes, began, fetches = self.refreshes(), time.monotonic(), self.fetches()
        until("some refreshes", lambda: self.refreshes() >= refreshes + 12)
        fetches, took = self.fetches() - fetches, time.monotonic() - began
        # One router leaves at least nine tenths of the interval between two fetches. Three would
        # have made twelve; a few are for a lease that a slow machine let lapse.
        self.assertLessEqual(fetches, took / (0.9 * INTERVAL) + 3)
        until("all routers have the same fetch", self.same_fetch)

        first.signal(signal.SIGKILL)
        first.wait()
        fetches = self.fetches()
        others = [each for each in self.routers if each is not first]
        second = self.holder(others)
        until("another router fetches", lambda: self.fetches() > fetches)

        second.signal(signal.SIGSTOP)
        (third,) = (each for each in others if each is not second)
        self.holder([third])
        second.signal(signal.SIGCONT)
        self.assertIs(self.holder(others), third)

        self.store.kill()
        until("each fetches for itself", lambda: {self.role(each) for each in others} == {"alone"})
        for each in others:
            reply = each.readyz()
            assert reply is not None
            self.assertEqual(reply.status, 200)
        self.store.start()
        self.holder(others)
