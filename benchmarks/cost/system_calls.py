"""System calls of the router, from a log of strace."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from benchmarks.cost.counting import TRACE, Counting, why_not
from benchmarks.cost.launcher import COUNT_NOTHING
from benchmarks.cost.router import Tool
from benchmarks.cost.windows import Window

_GROUPS: Final = {
    "receives": ("recvfrom", "recvmsg", "recvmmsg", "read", "readv"),
    "sends": ("sendto", "sendmsg", "sendmmsg", "write", "writev"),
    "waits": ("epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6"),
    "poll_changes": ("epoll_ctl",),
}

# A call that another thread interrupts has a second line, which begins with "<...".
_CALL: Final = re.compile(r"(?:\d+ +)?(\w+)\(")
_MARK: Final = re.compile(r"(?:\d+ +)?--- SIGRT")


def windows(log: Iterable[str]) -> list[Window]:
    """Return the windows of a log, in which each mark is a line about its signal."""
    counted: list[Counter[str]] = [Counter()]
    for line in log:
        if _MARK.match(line):
            counted.append(Counter())
        elif call := _CALL.match(line):
            counted[-1][call[1]] += 1
    return [_grouped(each) for each in counted]


def _grouped(counts: Counter[str]) -> Window:
    groups = {
        group: {name: counts[name] for name in names if name in counts}
        for group, names in _GROUPS.items()
    }
    return {"system_calls": counts, **groups}


def _read_trace(path: Path) -> list[Window]:
    with path.open(errors="replace") as log:
        return windows(log)


SYSTEM_CALLS: Final = Counting(
    name="system-calls",
    metrics=("system_calls", *_GROUPS),
    missing=lambda: why_not("strace", "-o", "/dev/null", "true"),
    tool=lambda folder: Tool(COUNT_NOTHING, ("strace", "-f", "-o", str(folder / TRACE))),
    read=lambda folder, _: _read_trace(folder / TRACE),
)
