"""One run: upstream, router, clients and samples, then the final checks and the report."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final

from tests.rigs.replicas.programs import StoreProcess
from tests.rigs.smoke.processes import free_port
from tests.rigs.smoke.waiting import until
from tests.rigs.soak.client_group import ClientGroup
from tests.rigs.soak.disturbances import Disturbances
from tests.rigs.soak.final_checks import active, descriptors_at_rest, end, examine
from tests.rigs.soak.ledger import Ledger
from tests.rigs.soak.outages import Outages
from tests.rigs.soak.report import Check, Outcome, checks_of_memory
from tests.rigs.soak.router import LogReader, RouterUnderTest, times
from tests.rigs.soak.sampling import MB, Sample
from tests.rigs.soak.store_faults import StoreFaults
from tests.rigs.soak.upstream import Upstream

_FINE: Final = frozenset({"good", "slow", "interim"})
_LEAVING: Final = 10.0
_WARM_UP: Final = 0.3


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a run.

    `faulty`: a factor on the frequency of faults. `last_answers`: seconds after which waiting
    clients disconnect; `think`: the mean of the seconds between two visits of a client. `store`:
    the router shares its state over a store that misbehaves.
    """

    seconds: float
    seed: int
    clients: int
    folder: Path
    faulty: float = 1.0
    last_answers: float = 60.0
    think: float = 0.3
    workers: int = 1
    store: bool = False


class Soak:
    """The parts of one run."""

    def __init__(self, options: Options, say: Callable[[Sample, Sequence[str]], None]) -> None:
        """`say` receives every sample, and the violations so far."""
        self._options = options
        self._say = say
        self._disturbances = Disturbances()
        found = self._disturbances
        self._ledger = Ledger(times(refusing=found.refusing, stalled=found.stalled))
        self._upstream = Upstream(
            free_port(), options.seed, self._ledger, found, faulty=options.faulty
        )
        self._store = StoreProcess(options.folder) if options.store else None
        settings = {"WORKERS": str(options.workers)}
        if self._store is not None:
            settings |= {"STATE_URL": self._store.url, "STICKY_HASH_KEY": f"soak {options.seed}"}
        self._router = RouterUnderTest(options.folder, self._upstream.port, **settings)
        self._router.log.unlink(missing_ok=True)
        self._log = LogReader(self._router.log, self._ledger)
        self._crowd = ClientGroup(
            options.clients, self._router.port, options.seed, self._ledger, options.think
        )
        self._samples: list[Sample] = []
        self._store_faults: Counter[str] = Counter()

    async def run(self) -> Outcome:
        """Run all processes, and stop them."""
        await self._upstream.open()
        watching = asyncio.create_task(self._disturbances.watch())
        try:
            if self._store is not None:
                await asyncio.to_thread(self._store.start)
            await asyncio.to_thread(self._router.start)
            await asyncio.to_thread(self._router.wait_ready)
            await asyncio.sleep(_WARM_UP)
            if (store := self._store) is not None:
                # One for commands, one for events; else they count as left open in the end.
                await asyncio.to_thread(
                    until, "both connections to the store", lambda: len(store.clients()) >= 2
                )
            open_before = await descriptors_at_rest(self._router)
            began, processor = monotonic(), self._router.processor()
            checks = [await self._traffic()]
            lasted = monotonic() - began
            share = (self._router.processor() - processor) / lasted
            checks += await examine(self._router, open_before)
            checks.append(await end(self._router))
        finally:
            watching.cancel()
            self._router.kill()
            self._upstream.close()
            if self._store is not None:
                self._store.kill()
        self._log.read()
        self._ledger.settle(all_of_them=True)
        checks.append(checks_of_memory(self._samples, self._options.seconds))
        return self._outcome(checks, lasted, share)

    async def _traffic(self) -> Check:
        """Run clients and faults for the requested time, then wait for the last responses."""
        options = self._options
        outages = Outages(self._upstream, options.seed, min(10.0, options.seconds / 3))
        outage_task = asyncio.create_task(outages.live())
        faults = (
            None
            if self._store is None
            else StoreFaults(self._store, options.seed, min(10.0, options.seconds / 4))
        )
        fault_task = None if faults is None else asyncio.create_task(faults.live())
        clients = self._crowd.live()
        began = monotonic()
        while (at := monotonic() - began) < options.seconds:
            await self._sample(at)
            await asyncio.sleep(max(0.0, 1.0 - (monotonic() - began - at)))
        self._crowd.stop()
        done, pending = await asyncio.wait(clients, timeout=options.last_answers)
        if pending:
            self._crowd.leave()
            done, pending = await asyncio.wait(clients, timeout=_LEAVING)
        for each in done:
            each.result()
        for each in pending:
            each.cancel()
        outages.clear()
        await outage_task
        if faults is not None and fault_task is not None:
            faults.clear()
            await fault_task
            self._store_faults = faults.counts
        return Check("all clients are gone", not pending, f"{len(done)} of {len(clients)}")

    async def _sample(self, at: float) -> None:
        """Sample the router, and judge complete cases."""
        self._log.read()
        self._ledger.settle()
        try:
            under_way = await active(self._router.port)
        except (OSError, ValueError, KeyError, TimeoutError) as error:
            self._ledger.violation("status", f"/status.json could not be read: {error!r}")
            under_way = 0
        acts = self._ledger.acts
        attempts = acts.total()
        sample = Sample(
            at=round(at, 2),
            rss=self._router.resident(),
            descriptors=self._router.descriptors(),
            active=under_way,
            requests=self._crowd.request_count,
            attempts=attempts,
            failures=attempts
            - sum(acts[kind] for kind in _FINE)
            + self._upstream.idle_closed
            + self._upstream.refusals,
        )
        self._samples.append(sample)
        self._say(sample, self._ledger.violations)

    def _outcome(self, checks: list[Check], lasted: float, share: float) -> Outcome:
        ledger, samples = self._ledger, self._samples
        last = samples[-1]
        figures: dict[str, Any] = {
            "requests": ledger.judged,
            "upstream attempts": ledger.acts.total(),
            "injected failures": last.failures,
            "requests, attempts and failures per second": round(
                (ledger.judged + ledger.acts.total() + last.failures) / lasted, 1
            ),
            "requests per second": round(ledger.judged / lasted, 1),
            "records in the log": ledger.records,
            "lines in the log": dict(self._log.levels),
            "RSS first, last, most (MB)": [
                round(each / MB, 1)
                for each in (samples[0].rss, last.rss, max(each.rss for each in samples))
            ],
            "descriptors at most": max(each.descriptors for each in samples),
            "active requests at most": max(each.active for each in samples),
            "router's share of a core": round(share, 2),
            "times without upstream": self._upstream.refusals,
            "idle connections closed by the upstream": self._upstream.idle_closed,
            "upstream connections": self._upstream.accepted,
            "connections the router refused": self._crowd.unreachable,
            "stalls of the soak test": self._disturbances.stalls,
            "longest stall (s)": round(self._disturbances.longest_stall, 2),
            "violations": ledger.violated,
        }
        counts = {
            "upstream acts": ledger.acts,
            "feed fetches": self._upstream.feeds.moods,
            "client visits": self._crowd.visits,
            "outcomes in the log": ledger.outcomes,
            "disturbances of the store": self._store_faults,
        }
        return Outcome(
            self._options.seed,
            self._options.seconds,
            self._options.clients,
            samples,
            checks,
            ledger.violations,
            ledger.violated,
            ledger.tally,
            figures,
            counts,
        )
