"""Instructions and allocations of the router, counted by valgrind's tools.

Neither needs the right to trace a process. Callgrind dumps its counts when the router calls the
function that every mark calls. Massif logs every allocation, including the one of every mark.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from benchmarks.cost.counting import TRACE, Counting, Reports, why_not
from benchmarks.cost.launcher import COUNT_NOTHING, MARK_BYTES
from benchmarks.cost.router import Tool
from benchmarks.cost.windows import Window

_TOTALS: Final = re.compile(r"^totals: (\d+)", re.MULTILINE)
_NAME: Final = re.compile(r"(c?)(ob|fn)=\((\d+)\)(?: (.*))?$")
_COST: Final = re.compile(r"[+\-*\d]\S* (\d+)$")
_EVENT: Final = re.compile(r"--\d+-- (\w+)\((?:(0x\w+),?)?(?:(\d+),)?(\d+)?\)(?:.* = (0x\w+))?")


def instructions(dump: str) -> int:
    """Return the instructions of a window, from what callgrind wrote at its end."""
    total = _TOTALS.search(dump)
    if total is None:
        raise ValueError("callgrind wrote no totals")
    return int(total[1])


def instructions_by_function(dump: str) -> Counter[tuple[str, str]]:
    """Return the instructions of each function itself, by its file and its name.

    A name follows its number the first time only. The line after `calls=` is what was called.
    """
    names: dict[tuple[str, str], str] = {}
    counts: Counter[tuple[str, str]] = Counter()
    file = function = ""
    called = False
    for line in dump.splitlines():
        if match := _NAME.match(line):
            by, what, number, name = match.groups()
            found = names.setdefault((what, number), name)
            if not by and what == "ob":
                file = found.rpartition("/")[2]
            elif not by:
                function = found.partition("'")[0]  # a number of recursion follows
        elif line.startswith("calls="):
            called = True
        elif match := _COST.match(line):
            if not called:
                counts[file, function] += int(match[1])
            called = False
    return counts


def allocations(log: Iterable[str]) -> list[Window]:
    """Return the windows of massif's log of `malloc` and `free`.

    `allocated_bytes` is the sum of all requests to the allocator, `retained_bytes` the same less
    what the router has freed.
    """
    found: list[Window] = []
    live: dict[str, int] = {}
    asked = blocks = retained = 0
    for line in log:
        event = _EVENT.match(line)
        if event is None:
            continue
        _function, old, items, size, new = event.groups()
        retained -= live.pop(old, 0) if old else 0
        if new is None:
            continue
        length = int(size) * int(items or 1)
        live[new] = length
        if MARK_BYTES <= length < 2 * MARK_BYTES:
            found.append(_window(asked, blocks, retained))
            asked = blocks = retained = 0
        asked += length
        blocks += 1
        retained += length
    return [*found, _window(asked, blocks, retained)]


def _window(asked: int, blocks: int, retained: int) -> Window:
    return {
        "allocated_bytes": {"all": asked},
        "allocations": {"all": blocks},
        "retained_bytes": {"all": retained},
    }


def _read_dumps(folder: Path, reports: Reports) -> list[Window]:
    dumps = (folder / f"{TRACE}.{number}" for number, _ in enumerate(reports, 1))
    return [_instructions(each.read_text()) for each in dumps]


def _instructions(dump: str) -> Window:
    by_function = instructions_by_function(dump)
    by_file: Counter[str] = Counter()
    for (file, _), count in by_function.items():
        by_file[file] += count
    return {
        "instructions": {"all": instructions(dump)},
        "instructions_by_file": by_file,
        "instructions_by_function": {
            f"{function} ({file})": count for (file, function), count in by_function.items()
        },
    }


def _read_log(path: Path) -> list[Window]:
    with path.open(errors="replace") as log:
        return allocations(log)


def _why_not() -> str | None:
    return why_not("valgrind", "--tool=none", "true")


INSTRUCTIONS: Final = Counting(
    name="instructions",
    metrics=("instructions",),
    missing=_why_not,
    tool=lambda folder: Tool(
        COUNT_NOTHING,
        (
            "valgrind",
            "--tool=callgrind",
            "--dump-before=getloadavg",
            f"--callgrind-out-file={folder / TRACE}",
        ),
    ),
    read=_read_dumps,
    records=False,
)

# PYTHONMALLOC: the interpreter's own allocator would hide most allocations from massif.
ALLOCATIONS: Final = Counting(
    name="allocations",
    metrics=("allocated_bytes", "allocations", "retained_bytes"),
    missing=_why_not,
    tool=lambda folder: Tool(
        COUNT_NOTHING,
        (
            "valgrind",
            "--tool=massif",
            "--massif-out-file=/dev/null",
            "--trace-malloc=yes",
            f"--log-file={folder / TRACE}",
        ),
        {"PYTHONMALLOC": "malloc"},
    ),
    read=lambda folder, _: _read_log(folder / TRACE),
    more=50,
    records=False,
)
