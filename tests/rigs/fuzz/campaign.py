"""Runs one target under the fuzzer: its arguments, its progress and its findings."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Final

from tests.rigs.fuzz.targets import FOUND, Target

ROOT: Final = Path(__file__).parents[3]
_PROGRESS = re.compile(r"#(\d+)\s.*?\bcov: (\d+) .*?\bcorp: (\d+)/\S+.*?\bexec/s: (\d+)")
FEW: Final = 2000
"""Inputs a minute below which a target says why it has not more."""
_ONE_INPUT: Final = 10
_MEMORY_MB: Final = 1024
_EVERY: Final = 10.0
_STARTING: Final = 120.0
_TAIL_LINES: Final = 40
_FINDINGS: Final = ("crash-*", "timeout-*", "oom-*")


@dataclass(slots=True)
class Outcome:
    """Progress and finding files of a target; ``broken`` if it could not run.

    ``processor`` is its processor time in seconds.
    """

    runs: int = 0
    coverage: int = 0
    corpus: int = 0
    seconds: float = 0.0
    processor: float = 0.0
    found: list[Path] = field(default_factory=list)
    broken: bool = False
    output_tail: str = ""

    def take(self, line: str) -> bool:
        """Record a line of libFuzzer's output; return whether it reports progress."""
        if (match := _PROGRESS.match(line)) is None:
            return False
        self.runs, self.coverage, self.corpus = (int(match[at]) for at in (1, 2, 3))
        return True


def prepare(target: Target, folder: Path) -> list[str]:
    """Create the target's folders; return the arguments of its process."""
    seeds, corpus, found = (folder / name for name in ("seeds", "corpus", "found"))
    for each in (seeds, corpus, found):
        each.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        if len(seed) <= target.largest:
            (seeds / f"{number:04}").write_bytes(seed)
    others = folder / "others.dict"
    others.write_text("".join(map(_word, target.tokens)))
    return [
        f"-dict={others}",
        f"-max_len={target.largest}",
        f"-artifact_prefix={found}/",
        f"-timeout={_ONE_INPUT}",
        f"-rss_limit_mb={_MEMORY_MB}",
        str(corpus),
        str(seeds),
    ]


def fuzz(
    target: Target, folder: Path, *, seconds: int, runs: int, say: Callable[[str], None]
) -> Outcome:
    """Fuzz the target for some seconds, or for some inputs if those are fewer (0: no limit)."""
    given = prepare(target, folder)
    before = _files(folder)
    given += [f"-max_total_time={seconds}", *([f"-runs={runs}"] if runs else [])]
    command = [sys.executable, "-m", "tests.rigs.fuzz.child", target.name, *given]
    outcome, began, used = Outcome(), monotonic(), _processor_time()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        errors="replace",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as child:
        assert child.stdout is not None
        try:
            others = _watch(child.stdout, outcome, say)
            child.wait(_STARTING)
        finally:
            child.kill()
    outcome.seconds, outcome.processor = monotonic() - began, _processor_time() - used
    outcome.found = sorted(_files(folder) - before)
    if child.returncode:
        outcome.output_tail = "".join(others[-_TAIL_LINES:])
        outcome.broken = not outcome.found
    return outcome


def _processor_time() -> float:
    """Return the processor time of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def why_few(outcome: Outcome) -> str | None:
    """Return why a target had fewer than some thousand inputs a minute; None if it had them."""
    if outcome.runs * 60 >= FEW * outcome.seconds:
        return None
    if outcome.processor < outcome.seconds / 2:
        return f"other processes left it {outcome.processor:.0f} s of processor time"
    each = 1000 * outcome.processor / max(1, outcome.runs)
    return f"each takes {each:.0f} ms, its share of the start included"


def _watch(lines: Iterable[str], outcome: Outcome, say: Callable[[str], None]) -> list[str]:
    """Read libFuzzer's output to its end; return the lines that do not report progress."""
    others, reported = list[str](), monotonic()
    for line in lines:
        if not outcome.take(line):
            others = [*others, line][-4 * _TAIL_LINES :]
        elif monotonic() - reported >= _EVERY:
            reported = monotonic()
            say(f"{outcome.runs} inputs, {outcome.coverage} covered, corpus {outcome.corpus}")
    return others


def _files(folder: Path) -> set[Path]:
    return {path for pattern in _FINDINGS for path in (folder / "found").glob(pattern)}


def _word(token: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in token) + '"\n'


def how_to_keep(target: Target, found: Path) -> str:
    """Return the command that turns a finding into a test."""
    return f"cp {found} {FOUND.relative_to(ROOT) / target.name}/WHAT_IT_IS"
