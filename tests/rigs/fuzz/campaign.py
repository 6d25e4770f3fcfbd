"""One target's time under the fuzzer: what it is given, what it says meanwhile, what it found."""

from __future__ import annotations

import os
import re
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
_ONE_INPUT: Final = 10
_MEMORY_MB: Final = 1024
_EVERY: Final = 10.0
_STARTING: Final = 120.0
_TOLD: Final = 40
_FINDINGS: Final = ("crash-*", "timeout-*", "oom-*")


@dataclass(slots=True)
class Outcome:
    """How far it came, and the files of what it found; ``broken`` where it could not even run."""

    runs: int = 0
    coverage: int = 0
    corpus: int = 0
    seconds: float = 0.0
    found: list[Path] = field(default_factory=list)
    broken: bool = False
    last_words: str = ""

    def take(self, line: str) -> bool:
        """Take note of a line of libFuzzer's; whether it was one of progress."""
        if (match := _PROGRESS.match(line)) is None:
            return False
        self.runs, self.coverage, self.corpus = (int(match[at]) for at in (1, 2, 3))
        return True


def prepare(target: Target, folder: Path) -> list[str]:
    """Lay out the target's folder; the arguments of its process."""
    seeds, corpus, found = (folder / name for name in ("seeds", "corpus", "found"))
    for each in (seeds, corpus, found):
        each.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        if len(seed) <= target.largest:
            (seeds / f"{number:04}").write_bytes(seed)
    words = folder / "words.dict"
    words.write_text("".join(map(_word, target.tokens)))
    return [
        f"-dict={words}",
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
    """Fuzz it for so many seconds, or so many inputs if those are fewer (0: no such bound)."""
    given = prepare(target, folder)
    before = _files(folder)
    given += [f"-max_total_time={seconds}", *([f"-runs={runs}"] if runs else [])]
    command = [sys.executable, "-m", "tests.rigs.fuzz.child", target.name, *given]
    outcome, began = Outcome(), monotonic()
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
            words = _watch(child.stdout, outcome, say)
            child.wait(_STARTING)
        finally:
            child.kill()
    outcome.seconds = monotonic() - began
    outcome.found = sorted(_files(folder) - before)
    if child.returncode:
        outcome.last_words = "".join(words[-_TOLD:])
        outcome.broken = not outcome.found
    return outcome


def _watch(lines: Iterable[str], outcome: Outcome, say: Callable[[str], None]) -> list[str]:
    """Follow libFuzzer to its end; what else it said."""
    others, told = list[str](), monotonic()
    for line in lines:
        if not outcome.take(line):
            others = [*others, line][-4 * _TOLD :]
        elif monotonic() - told >= _EVERY:
            told = monotonic()
            say(f"{outcome.runs} inputs, {outcome.coverage} covered, corpus {outcome.corpus}")
    return others


def _files(folder: Path) -> set[Path]:
    return {path for pattern in _FINDINGS for path in (folder / "found").glob(pattern)}


def _word(token: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in token) + '"\n'


def how_to_keep(target: Target, found: Path) -> str:
    """How a finding becomes a test."""
    return f"cp {found} {FOUND.relative_to(ROOT) / target.name}/WHAT_IT_IS"
