"""The parts of a command, each a target of the Makefile, run concurrently and timed.

`python -m tools.parts [--jobs N] PART ...` starts the parts in the given order, prints the output
of each when it ends, and at the end a line for each part. Exit status: 0, or 1 if any part failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """A finished part: its output, exit status, and duration."""

    part: str
    output: str
    status: int
    seconds: float

    def __str__(self) -> str:
        verdict = "ok" if self.status == 0 else f"FAILED ({self.status})"
        return f"{self.part:<16}{self.seconds:>7.0f} s  {verdict}"


def make(part: str) -> Done:
    """Run one target, without the flags of an enclosing make."""
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    started = time.monotonic()
    done = subprocess.run(
        ("make", "--no-print-directory", part),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return Done(part, done.stdout, done.returncode, time.monotonic() - started)


def run(parts: Iterable[str], jobs: int, runner: Callable[[str], Done] = make) -> list[Done]:
    """Run the parts, at most `jobs` at a time, and print each as it ends."""
    ended = []
    with ThreadPoolExecutor(jobs) as pool:
        for future in as_completed([pool.submit(runner, part) for part in parts]):
            done = future.result()
            ended.append(done)
            print(f"\n== {done}\n{done.output}", end="", flush=True)
    return ended


def main(arguments: list[str], runner: Callable[[str], Done] = make) -> int:
    """Run the parts, and print their times; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.parts", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="at a time [%(default)s]")
    parser.add_argument("parts", nargs="+", metavar="PART")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    ended = run(given.parts, given.jobs, runner)
    print()
    for done in sorted(ended, key=lambda each: -each.seconds):
        print(done)
    failed = any(done.status for done in ended)
    print(Done("all", "", int(failed), time.monotonic() - started))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
