"""The processes of a soak with hostile clients: those of the hold suite, and honest clients."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import re
import time
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from random import Random
from typing import Final

from tests.rigs.hold.client import played, request_bytes
from tests.rigs.hold.families import INPUTS
from tests.rigs.hold.router import SETUPS, HeldRouter
from tests.rigs.hold.run import HoldSuite
from tests.rigs.hold.upstream import RECEIVED_FIELD
from tests.rigs.hold.wire import CHAT, CHUNKED, DONE, TIMED_FIELD, chat, post
from tests.rigs.smoke.client import HOST
from tests.rigs.soak.hostile import (
    EVENTS,
    HONEST_CLIENTS,
    HOSTILE_CLIENTS,
    RATE,
    Phase,
    mix_of,
)

_FORK: Final = multiprocessing.get_context("fork")
_RECEIVED: Final = re.compile(RECEIVED_FIELD.encode() + rb": (\d+)\r\n", re.IGNORECASE)
_SENT: Final = re.compile(rb'"content":"(\d+)"')
_PAUSE: Final = 0.1
_ANSWER: Final = 30.0

_KINDNESS: Final = 15
_MS: Final = 1e6


def hostile_soak(seconds: float, seed: int, folder: Path) -> tuple[Phase, Phase]:
    """Run both phases, each this long; return the one without hostile clients first."""
    folder.mkdir(parents=True, exist_ok=True)
    with HoldSuite(INPUTS, folder).opened() as suite:
        router = suite.router_for(SETUPS["own"], 0)
        numbers, _ = mix_of(INPUTS)
        suite.prepare(*numbers)
        wires = {number: request_bytes(INPUTS[number], number) for number in numbers}
        asyncio.run(_honest(Phase("warm-up"), router.port, min(3.0, seconds), seed))
        alone, beside = Phase("alone"), Phase("beside hostile clients")
        asyncio.run(_honest(alone, router.port, seconds, seed))
        with _hostile(router, seed, wires) as pipes:
            asyncio.run(_honest(beside, router.port, seconds, seed))
            beside.hostile = sum(map(_stop, pipes))
        if router.status is not None:
            beside.failures.append(f"the router ended with {router.status}")
    return alone, beside


# -- honest clients


async def _honest(phase: Phase, port: int, seconds: float, seed: int) -> None:
    """Add the latencies of honest clients to a phase."""
    gc.collect()
    gc.freeze()
    end = time.monotonic() + seconds
    clients = (
        _client(phase, port, end, Random(f"{seed}/{number}")) for number in range(HONEST_CLIENTS)
    )
    await asyncio.gather(*clients)


async def _client(phase: Phase, port: int, end: float, rng: Random) -> None:
    request = post(chat("acme/one", stream=True), CHAT, f"{TIMED_FIELD}: {EVENTS}")
    while time.monotonic() < end:
        await asyncio.sleep(rng.uniform(0, 2 * _PAUSE))
        phase.requests += 1
        try:
            await asyncio.wait_for(_stream(phase, port, request), _ANSWER)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            phase.failures.append(f"no response: {error!r}")


async def _stream(phase: Phase, port: int, request: bytes) -> None:
    """Make a request, and note how late the upstream received it and each event arrived."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        began = time.monotonic_ns()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        received = _RECEIVED.search(head)
        if not head.startswith(b"HTTP/1.1 200 ") or received is None:
            phase.failures.append(f"the response began with {head[:60]!r}")
            return
        phase.latencies.append((int(received.group(1)) - began) / _MS)
        rest, count = b"", 0
        while data := await reader.read(65_536):
            now = time.monotonic_ns()
            sent = _SENT.findall(data)
            phase.latencies.extend((now - int(each)) / _MS for each in sent)
            count, rest = count + len(sent), (rest + data)[-100:]
        if count != EVENTS or DONE not in rest or not rest.endswith(CHUNKED[-2:]):
            phase.failures.append(f"the response broke off after {count} events: {rest!r}")
    finally:
        writer.close()


# -- hostile clients


@contextlib.contextmanager
def _hostile(router: HeldRouter, seed: int, wires: Mapping[int, bytes]) -> Iterator[list[Pipe]]:
    """Run hostile clients for the duration of the block."""
    pipes, processes = [], []
    for number in range(HOSTILE_CLIENTS):
        ours, theirs = _FORK.Pipe()
        process = _FORK.Process(
            target=_attack,
            args=(theirs, router, Random(f"hostile/{seed}/{number}"), wires),
            daemon=True,
        )
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    try:
        yield pipes
    finally:
        for process in processes:
            process.kill()
            process.join()


def _attack(pipe: Pipe, router: HeldRouter, rng: Random, wires: Mapping[int, bytes]) -> None:
    """Play inputs of the mix at the rate until the pipe says to stop; then send their number."""
    os.nice(_KINDNESS)  # the honest clients' measurements come first
    numbers, shares = mix_of(INPUTS)
    pause, count, due = HOSTILE_CLIENTS / RATE, 0, time.monotonic()
    while not pipe.poll(max(0.0, due - time.monotonic())):
        due = max(due + pause, time.monotonic())
        (number,) = rng.choices(numbers, shares)
        with contextlib.suppress(OSError):
            wire = memoryview(wires[number])
            played(INPUTS[number], router.port_of(INPUTS[number].to), wire)
        count += 1
    pipe.send(count)


def _stop(pipe: Pipe) -> int:
    """Stop a hostile client; return the number of inputs that it played."""
    pipe.send("stop")
    return int(pipe.recv()) if pipe.poll(_ANSWER * 2) else 0
