"""The table of a run: on the terminal, as JSON, and as a section of `research/RELIABILITY.md`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.pace import SLOWED
from tests.rigs.hold.input import KIB, MB, MIB
from tests.rigs.hold.judge import Row

BEGIN: Final = "<!-- make hold --table: begin -->"
END: Final = "<!-- make hold --table: end -->"
_COLUMNS: Final = "| input | router | largest body | longest hold | memory | verdict |"
_SUMMARY_COLUMNS: Final = (
    "| family, router | inputs | longest hold | closest to its limit | most memory | exceeded |"
)
_RULE: Final = "|---|---|---|---|---|---|"


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine of a run, and the noise that an idle router showed on it."""

    processor: str
    cores: int
    python: str
    noise: float

    def __str__(self) -> str:
        return f"{self.cores} × {self.processor}, Python {self.python}"


def machine(noise: float, python: str, cores: int) -> Machine:
    """Return this machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return Machine(names[0] if names else "unknown", cores, python, noise)


def size(count: int) -> str:
    """Return a number of bytes for people."""
    if count >= MB:
        return f"{count / MB:.1f} MB"
    return f"{count / KIB:.1f} KiB" if count >= KIB else f"{count} B"


def line(row: Row) -> str:
    """Return one row for the terminal."""
    memory = f"{row.growth / MIB:.1f}/{row.memory_limit / MIB:.0f} MiB"
    return (
        f"{row.held:8.1f}/{row.hold_limit:.0f} ms {memory:>16}  {row.verdict:<13}"
        f" {row.setup:<13} {row.title} [{row.statuses}]{_slowed(row)}"
    )


def _slowed(row: Row) -> str:
    """Return a remark on a reading whose processor was slowed in every run."""
    return f" (core {row.slowdown:.1f} × slower than at best)" if row.slowdown > SLOWED else ""


def write(rows: Sequence[Row], on: Machine, folder: Path) -> None:
    """Write the rows to `report.json` and `report.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {"machine": asdict(on), "rows": [asdict(each) for each in rows]}
    (folder / "report.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "report.md").write_text("\n".join(full_table(rows)) + "\n")


def full_table(rows: Iterable[Row]) -> list[str]:
    """Return the lines of a table of all rows, in Markdown."""
    return [_COLUMNS, _RULE, *map(_full_row, rows)]


def _full_row(row: Row) -> str:
    return (
        f"| {row.title} | {row.setup} | {size(row.size)} | {row.held:.1f} of"
        f" {row.hold_limit:.0f} ms | {row.growth / MIB:.1f} of"
        f" {row.memory_limit / MIB:.0f} MiB | {row.verdict}{_slowed(row)} |"
    )


def section(
    rows: Sequence[Row],
    on: Machine,
    day: datetime | None = None,
    *,
    commit: str = "",
    missing: int = 0,
) -> str:
    """Return the block of the page: one row for each family and router, the worst input of each.

    ``missing``: the number of inputs without a row.
    """
    when = (day or datetime.now(UTC)).strftime("%Y-%m-%d")
    at = f" at {commit}" if commit else ""
    absent = f" {missing} inputs were not played." if missing else ""
    slowed = sum(row.slowdown > SLOWED for row in rows)
    noisy = f" The core was slowed in every run of {slowed} inputs." if slowed else ""
    lines = [
        BEGIN,
        "",
        f"Measured on {when}{at}, {on}; an idle router: {on.noise:.1f} ms.{absent}{noisy}",
        "",
        _SUMMARY_COLUMNS,
        _RULE,
    ]
    keys = dict.fromkeys((row.family, row.setup) for row in rows)
    lines += [_summary([row for row in rows if (row.family, row.setup) == key]) for key in keys]
    exceeded = [row for row in rows if row.verdict.failed]
    if exceeded:
        lines += ["", "Exceeded:", "", *full_table(exceeded)]
    return "\n".join([*lines, "", END])


def _summary(rows: Sequence[Row]) -> str:
    longest = max(rows, key=lambda row: row.held)
    closest = max(rows, key=lambda row: row.held / row.hold_limit)
    most = max(rows, key=lambda row: row.growth)
    exceeded = sum(row.verdict.failed for row in rows)
    cells = (
        f"{longest.family}, {longest.setup}",
        f"{len(rows)}",
        f"{longest.held:.0f} ms ({_name(longest)})",
        f"{closest.held:.0f} of {closest.hold_limit:.0f} ms ({_name(closest)})",
        f"{most.growth / MIB:.1f} MiB ({_name(most)})",
        f"{exceeded}" if exceeded else "none",
    )
    return f"| {' | '.join(cells)} |"


def _name(row: Row) -> str:
    return row.title.partition(": ")[2]


def replace_section(page: Path, block: str) -> None:
    """Replace the block of the page between the marks.

    :raises ValueError: the page has not both marks.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} lacks {BEGIN} and {END}")
    page.write_text(before + block + after, encoding="utf-8")
