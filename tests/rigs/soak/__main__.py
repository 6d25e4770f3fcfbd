"""`python -m tests.rigs.soak`: runs ten minutes of mixed faults and checks every response byte.

With `--hostile` it measures instead how much hostile clients slow down honest ones.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.rigs.smoke.processes import ROOT
from tests.rigs.soak.hostile import judge
from tests.rigs.soak.hostile_run import hostile_soak
from tests.rigs.soak.report import Outcome, terminal, write
from tests.rigs.soak.run import Options, Soak
from tests.rigs.soak.sampling import MB, Sample

_USUAL, _QUICK, _HOSTILE = 600.0, 25.0, 60.0
_EVERY = 10
_SHOWN = 20


def main(given: Sequence[str] | None = None) -> int:
    """Run the soak test; return 0 if it found no violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.rigs.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, help=f"default {_USUAL:.0f}")
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK:.0f} seconds")
    parser.add_argument(
        "--hostile",
        action="store_true",
        help=f"honest clients alone, then beside hostile ones, {_HOSTILE:.0f} seconds each",
    )
    parser.add_argument("--seed", type=int, help="repeats the traffic and faults of a run")
    parser.add_argument("--clients", type=int, default=60, help="at a time, default 60")
    parser.add_argument(
        "--faulty", type=float, default=1.0, help="factor on the frequency of faults, default 1"
    )
    parser.add_argument(
        "--last-answers", type=float, default=60.0, help="seconds until waiting clients disconnect"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that serve, default 1")
    parser.add_argument(
        "--store", action="store_true", help="share state over a Redis server that misbehaves"
    )
    parser.add_argument("--logs", type=Path, default=ROOT / "logs" / "soak", help="where to report")
    options = parser.parse_args(given)
    seconds = options.seconds or (_QUICK if options.quick else _USUAL)
    seed = random.randrange(1 << 24) if options.seed is None else options.seed
    folder = options.logs.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if options.hostile:
        return _beside_hostile(options.seconds or _HOSTILE, seed, folder)
    print(f"seed {seed}, {seconds:g} s, {options.clients} clients", flush=True)
    wanted = Options(
        seconds,
        seed,
        options.clients,
        folder,
        options.faulty,
        options.last_answers,
        workers=options.workers,
        store=options.store,
    )
    try:
        outcome = asyncio.run(_run(Soak(wanted, Progress())))
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    write(outcome, folder)
    print(terminal(outcome))
    return 0 if outcome.ok else 1


def _beside_hostile(seconds: float, seed: int, folder: Path) -> int:
    """Run the soak with hostile clients; return 0 if they did not harm the honest ones."""
    print(f"seed {seed}, 2 × {seconds:g} s", flush=True)
    alone, beside = hostile_soak(seconds, seed, folder)
    print(f"{alone}\n{beside}")
    found = judge(alone, beside)
    for each in found[:_SHOWN]:
        print(f"VIOLATION {each}")
    return 1 if found else 0


class Progress:
    """Prints progress: one line that is overwritten, or one every ten seconds without a terminal.

    Violations are printed as they occur, and again in the report.
    """

    def __init__(self) -> None:
        self._printed = 0

    def __call__(self, sample: Sample, violations: Sequence[str]) -> None:
        """Print the sample of a second, and the new violations."""
        terminal = sys.stdout.isatty()
        for each in violations[self._printed : _SHOWN]:
            print(f"{chr(13) if terminal else ''}VIOLATION {each}", flush=True)
        self._printed = len(violations)
        line = (
            f"{sample.at:5.0f} s  {sample.requests} requests, {sample.failures} failures,"
            f" {sample.active} active, {sample.descriptors} descriptors,"
            f" {sample.rss / MB:.1f} MB, {len(violations)} violations"
        )
        if terminal:
            print(f"\r{line}   ", end="", flush=True)
        elif round(sample.at) % _EVERY == 0:
            print(line, flush=True)


async def _run(soak: Soak) -> Outcome:
    """Run to the end, or until SIGTERM, which stops the router too."""
    running = asyncio.current_task()
    assert running is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    return await soak.run()


if __name__ == "__main__":
    sys.exit(main())
