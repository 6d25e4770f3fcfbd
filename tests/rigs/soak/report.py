"""The result of a run: for people, for programs, and as an exit status for both."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.rigs.soak.plot import svg
from tests.rigs.soak.sampling import MB, SETTLING, TOLERANCE, Sample, memory_of

_SHOWN: Final = 20
_MEMORY: Final = (
    f"Memory is judged in runs of {SETTLING:.0f} s and more: the median of the last quarter"
    f" may be {TOLERANCE:.0%} and 1 MB above that of the third."
)


@dataclass(frozen=True, slots=True)
class Check:
    """A condition that must hold after all clients have left."""

    what: str
    ok: bool
    found: str


@dataclass(slots=True)
class Outcome:
    """The results of a run. The tally counts requests by outcome and upstream act."""

    seed: int
    seconds: float
    clients: int
    samples: list[Sample]
    checks: list[Check]
    violations: Sequence[str]
    violated: int
    tally: Counter[tuple[str, str]]
    figures: Mapping[str, Any]
    counts: Mapping[str, Counter[str]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the router handled requests, and handled all correctly."""
        return not self.violated and all(c.ok for c in self.checks) and bool(self.tally)


def write(outcome: Outcome, folder: Path) -> None:
    """Write ``report.md``, ``report.json`` and ``soak.svg``."""
    folder.mkdir(parents=True, exist_ok=True)
    title = f"soak, seed {outcome.seed}: {len(outcome.samples)} s, {outcome.clients} clients"
    (folder / "soak.svg").write_text(svg(outcome.samples, title))
    (folder / "report.json").write_text(json.dumps(_json(outcome), indent=2) + "\n")
    (folder / "report.md").write_text(markdown(outcome))


def _json(outcome: Outcome) -> dict[str, Any]:
    memory = memory_of(outcome.samples, outcome.seconds)
    return {
        "ok": outcome.ok,
        "seed": outcome.seed,
        "seconds": outcome.seconds,
        "clients": outcome.clients,
        "figures": outcome.figures,
        "rss_quarters": memory.quarters,
        "rss_allowed": memory.allowed,
        "rss_judged": memory.judged,
        "checks": [asdict(each) for each in outcome.checks],
        "violated": outcome.violated,
        "violations": list(outcome.violations),
        "tally": [
            {"outcome": ended, "upstream": fault, "requests": count}
            for (ended, fault), count in sorted(outcome.tally.items())
        ],
        "counts": {name: dict(each.most_common()) for name, each in outcome.counts.items()},
        "samples": [asdict(each) for each in outcome.samples],
    }


def markdown(outcome: Outcome) -> str:
    """Return the report for people."""
    parts = [
        "# Soak",
        f"**{_verdict(outcome)}** Repeat with `--seed {outcome.seed}`.",
        "![Over time](soak.svg)",
        "\n".join(f"- {name}: {value}" for name, value in outcome.figures.items()),
        "## Afterwards",
        _table(
            ("check", "found", ""),
            ((c.what, c.found, "ok" if c.ok else "**failed**") for c in outcome.checks),
        ),
        _MEMORY,
        "## Requests by how they ended and what the last upstream did",
        _tally(outcome.tally),
    ]
    for name, counter in outcome.counts.items():
        parts += [f"## {name.capitalize()}", _table(("kind", "count"), _rows(counter))]
    if outcome.violated:
        parts += ["## Violations", *(f"- {each}" for each in outcome.violations)]
    return "\n\n".join(parts) + "\n"


def terminal(outcome: Outcome) -> str:
    """Return the verdict and its figures for a terminal."""
    lines = [f"{name}: {value}" for name, value in outcome.figures.items()]
    ended: Counter[str] = Counter()
    for (how, _), count in outcome.tally.items():
        ended[how] += count
    lines.append("ended: " + ", ".join(f"{name} {count}" for name, count in ended.most_common()))
    lines += [f"{'ok    ' if c.ok else 'FAILED'} {c.what}: {c.found}" for c in outcome.checks]
    lines += outcome.violations[:_SHOWN]
    if outcome.violated > _SHOWN:
        lines.append(f"… and {outcome.violated - _SHOWN} more, in the report")
    return "\n".join([*lines, _verdict(outcome)])


def checks_of_memory(samples: Sequence[Sample], seconds: float) -> Check:
    """Return the check that memory did not grow."""
    memory = memory_of(samples, seconds)
    found = " → ".join(f"{each / MB:.1f}" for each in memory.quarters) + " MB by quarters"
    found += f", at most {memory.allowed / MB:.1f} allowed" if memory.judged else ", not judged"
    return Check("no growth of memory over the second half", not memory.grows, found)


def _verdict(outcome: Outcome) -> str:
    if outcome.ok:
        return "Every response was correct."
    failed = sum(not each.ok for each in outcome.checks)
    return f"{outcome.violated} violations, {failed} failed checks (seed {outcome.seed})."


def _tally(tally: Counter[tuple[str, str]]) -> str:
    outcomes = sorted({ended for ended, _ in tally})
    rows = (
        (fault, *(str(tally[ended, fault] or "") for ended in outcomes))
        for fault in sorted({fault for _, fault in tally})
    )
    return _table(("upstream", *outcomes), rows)


def _rows(counter: Counter[str]) -> Iterable[tuple[str, str]]:
    return ((name, str(count)) for name, count in counter.most_common())


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
