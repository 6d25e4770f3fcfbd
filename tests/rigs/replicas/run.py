"""One run: conversations over all routers while the store is well, fails, and is well again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

from tests.rigs.replicas.conversations import Caller, Turn, converse
from tests.rigs.replicas.judge import Phase, complaints, probes_too_many
from tests.rigs.replicas.platform import FAILING, MODELS, Platform
from tests.rigs.replicas.programs import BalancerProcess, StoreProcess
from tests.rigs.smoke.processes import RouterProcess

ROUTERS: Final = 3
COOLDOWN: Final = 4.0
_SETTLE: Final = 0.15
"""Seconds for an event to reach the other replicas."""
_LIMIT: Final = 10.0
_FRONT: Final = f"{FAILING},{MODELS[0]}"


@dataclass(frozen=True, slots=True)
class Options:
    """The size of a run: conversations and turns of each phase, and seconds of an outage."""

    conversations: int
    turns: int
    pause: float
    outage: float
    workers: int = 1
    seed: int = 1


class Rig:
    """The processes of a run, and the probes."""

    def __init__(self, folder: Path, options: Options, platform: Platform) -> None:
        """Prepare the processes; the platform listens already."""
        self.options = options
        self.platform = platform
        self.store = StoreProcess(folder)
        settings = {
            "STATE_URL": self.store.url,
            "STICKY_HASH_KEY": "the same for all replicas",
            "WORKERS": str(options.workers),
            "UTILIZATION_REFRESH_MS": "700",
            "EVIDENCE_REFRESH_MS": "0",
            "COOLDOWN_MS": f"{COOLDOWN * 1000:.0f}",
        }
        self.routers = [
            RouterProcess(f"router-{number}", folder, platform.port, settings)
            for number in range(ROUTERS)
        ]
        self.balancer = BalancerProcess(folder, [each.port for each in self.routers])
        self._probes = 0

    def start(self) -> None:
        """Start all processes, and wait until the routers are ready."""
        self.store.start()
        for router in self.routers:
            router.start(wait=False)
        for router in self.routers:
            router.wait_ready()
        self.balancer.start()

    def stop(self) -> list[str]:
        """Stop the routers; return what was wrong with their ends and their logs."""
        for router in self.routers:
            router.signal(signal.SIGTERM)
        found = []
        for router in self.routers:
            if (status := router.wait()) != -signal.SIGTERM:
                found.append(f"{router.name} ended with status {status}")
            if b"Traceback" in (log := router.output()) or b"Unhandled" in log:
                found.append(f"a traceback in the log of {router.name}: {log[-2000:]!r}")
        return found

    def kill(self) -> None:
        """End whatever still runs."""
        for each in (*self.routers, self.balancer, self.store):
            each.kill()

    # -- probes

    async def shared(self) -> bool:
        """Return whether each router knows of a new conversation of the router before it."""
        found = []
        for first, second in zip(self.routers, self.routers[1:] + self.routers[:1], strict=True):
            self._probes += 1
            caller = Caller(f"probe-{self._probes}", f"probe-{self._probes}")
            before = await caller.turn(first.port)
            await asyncio.sleep(_SETTLE)
            after = await caller.turn(second.port, 1)
            assert not before.failed + after.failed, before.failed + after.failed
            found.append((after.affinity, after.model) == ("hit", before.model))
        return all(found)

    async def back(self) -> float:
        """Return the seconds until the routers share again; they share now if it is a moment."""
        began = monotonic()
        while not await self.shared():
            if monotonic() - began > _LIMIT:
                break
        return monotonic() - began

    def ready(self) -> list[int]:
        """Return the status of `/readyz` of each router."""
        return [reply.status if (reply := each.readyz()) else 0 for each in self.routers]


async def _killed(rig: Rig) -> list[str]:
    """Kill the store, and start it again later."""
    await asyncio.to_thread(rig.store.kill)
    found = []
    if await rig.shared():
        found.append("the probe of sharing does not notice that there is no store")
    await asyncio.sleep(rig.options.outage)
    if (ready := await asyncio.to_thread(rig.ready)) != [200] * ROUTERS:
        found.append(f"without a store /readyz says {ready}")
    await asyncio.to_thread(rig.store.start)
    return found


async def _restarted(rig: Rig) -> list[str]:
    """Restart the store at once."""
    rig.store.signal(signal.SIGTERM)
    await asyncio.to_thread(rig.store.wait)
    await asyncio.to_thread(rig.store.start)
    return []


async def _paused(rig: Rig) -> list[str]:
    """Have the store answer no client for a while."""
    await asyncio.to_thread(rig.store.pause, rig.options.outage)
    await asyncio.sleep(rig.options.outage)
    return []


async def _full(rig: Rig) -> list[str]:
    """Have the store refuse each write for a while."""
    await asyncio.to_thread(rig.store.fill)
    await asyncio.sleep(rig.options.outage)
    await asyncio.to_thread(rig.store.empty)
    return []


DISTURBANCES: Final[dict[str, Callable[[Rig], Awaitable[list[str]]]]] = {
    "killed": _killed,
    "restarted": _restarted,
    "paused": _paused,
    "full": _full,
}


@asynccontextmanager
async def rig(folder: Path, options: Options) -> AsyncIterator[Rig]:
    """Run all processes for the duration of the block."""
    platform = Platform(options.seed)
    await platform.open()
    try:
        made = Rig(folder, options, platform)
        try:
            await asyncio.to_thread(made.start)
            yield made
        finally:
            await asyncio.to_thread(made.kill)
    finally:
        platform.close()


async def well(rig: Rig) -> Phase:
    """Hold conversations while the store is well."""
    return Phase("the store is well", await _conversations(rig, "well"), await rig.back())


async def disturbed(rig: Rig, name: str) -> tuple[Phase, list[str]]:
    """Hold conversations, and disturb the store in their middle."""
    talking = asyncio.create_task(_conversations(rig, name))
    await asyncio.sleep(rig.options.turns * rig.options.pause / 3)
    found = await DISTURBANCES[name](rig)
    back = await rig.back()
    return Phase(f"the store is {name}", await talking, back), found


async def _conversations(rig: Rig, name: str) -> list[Turn]:
    options = rig.options
    return await converse(
        rig.balancer.port, name, options.conversations, options.turns, options.pause
    )


async def cooling(rig: Rig) -> list[str]:
    """Have a model fail; return what is wrong with who still asks for it, and when."""
    failures = rig.platform.failures
    found: list[str] = []

    async def asked(clients: str, *numbers: int) -> int:
        """Return how often the model was asked when a client called each of these routers."""
        before = len(failures)
        for number in numbers:
            caller = Caller(clients.format(number), "none", _FRONT, affinity=False)
            turn = await caller.turn(rig.routers[number].port)
            found.extend(filter(None, [turn.failed]))
            await asyncio.sleep(_SETTLE)
        return len(failures) - before

    every = range(ROUTERS)
    steps = (
        ("three failures of one client", await asked("one", *every), 3),
        ("then for that client", await asked("one", *every), 0),
        ("then for another client", await asked("another", 0), 1),
        ("failures of two more clients", await asked("more-{}", 1, 2), 1),
        ("then for everyone", await asked("new-{}", *every), 0),
    )
    found += [
        f"{what}: asked {was} times, not {should}" for what, was, should in steps if was != should
    ]
    return found + await _probes(rig)


async def _probes(rig: Rig) -> list[str]:
    """Ask all routers for the cooling model; return what is wrong with the times of the probes."""
    failures = rig.platform.failures
    first = len(failures) - 1
    end = monotonic() + 2.5 * COOLDOWN
    number = 0
    while monotonic() < end:
        number += 1
        callers = [
            Caller(f"late-{number}-{each}", "none", _FRONT, affinity=False)
            for each in range(ROUTERS)
        ]
        await asyncio.gather(
            *(caller.turn(router.port) for caller, router in zip(callers, rig.routers, strict=True))
        )
        await asyncio.sleep(_SETTLE)
    asked = failures[first:]
    early = probes_too_many(asked, COOLDOWN, slack=0.25)
    if early:
        return [f"{len(early)} of {len(asked) - 1} probes came before the cooldown was over"]
    return [] if len(asked) > 1 else ["the model was never probed"]


async def campaign(folder: Path, options: Options) -> tuple[list[Phase], list[str]]:
    """Run everything; return the phases and the complaints."""
    async with rig(folder, options) as made:
        phases = [await well(made)]
        found = list(complaints(phases[0], well=True))
        found += await cooling(made)
        for name in DISTURBANCES:
            phase, more = await disturbed(made, name)
            phases.append(phase)
            found += [*more, *complaints(phase, well=False)]
        found += await asyncio.to_thread(made.stop)
    return phases, found
