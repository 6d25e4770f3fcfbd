"""Resource usage of a process, from the kernel."""

from __future__ import annotations

import os
import resource
from itertools import count, islice
from pathlib import Path

from tests.process.processes import until


def cpu_seconds(pid: int) -> float:
    """Return the processor time used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Return the resident memory in bytes."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


def peak(pid: int) -> int:
    """Return the peak of the resident memory in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("this kernel does not report it")


def leave_room(pid: int, room: int) -> None:
    """Limit the open files of a process so that it can open only this many more."""
    used = {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()}
    free = (number for number in count() if number not in used)
    limit = next(islice(free, room, None))
    _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, most))


def settled(pid: int) -> int:
    """Return the number of open files at rest: the lowest, once that no longer changes.

    A fetch of a feed opens another one for a moment, on a slow machine nearly all the time.
    """
    counts: list[int] = []

    def same_for_a_while() -> bool:
        counts.append(_open_files(pid))
        return len(counts) >= 50 and min(counts[-25:]) == min(counts[-50:-25])

    until(same_for_a_while)
    return min(counts[-25:])


def released(pid: int, at_rest: int) -> bool:
    """Wait until the process has no more open files than when idle."""
    until(lambda: _open_files(pid) <= at_rest)
    return True


def _open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
