"""Processor time and memory of processes, read from /proc.

The scheduler's count (schedstat) has nanosecond resolution. The usual one, in hundredths of a
second, is too coarse for windows of a few seconds, so it is used only if the other is missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")
_NS = 1e9
_TICKS = os.sysconf("SC_CLK_TCK")
_SESSION_FIELD = 3
_USER_FIELD, _SYSTEM_FIELD = 11, 12


def session_members(session: int) -> list[int]:
    """Return all processes of a session: its leader and that process's descendants."""
    found = []
    for each in _PROC.iterdir():
        if each.name.isdigit():
            fields = _stat(each)
            if fields and int(fields[_SESSION_FIELD]) == session:
                found.append(int(each.name))
    return sorted(found)


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the processor time used so far by all threads of these processes."""
    return sum(_cpu(_PROC / str(pid)) for pid in pids)


def memory(pids: Iterable[int], kind: str = "VmRSS") -> int:
    """Return the current (VmRSS) or peak (VmHWM) resident bytes of these processes together."""
    return sum(_memory(_PROC / str(pid), f"{kind}:") for pid in pids)


def proportional_memory(pids: Iterable[int]) -> int:
    """Return the bytes of these processes, with each page that several share counted in parts."""
    total = 0
    for pid in pids:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def _cpu(folder: Path) -> float:
    total = 0
    try:
        for thread in os.listdir(folder / "task"):
            total += int((folder / "task" / thread / "schedstat").read_text().split()[0])
    except (OSError, IndexError):
        fields = _stat(folder)
        ticks = int(fields[_USER_FIELD]) + int(fields[_SYSTEM_FIELD]) if fields else 0
        return ticks / _TICKS
    return total / _NS


def _memory(folder: Path, label: str) -> int:
    try:
        lines = (folder / "status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(label))


def _stat(folder: Path) -> list[str]:
    """Return the fields of a process's stat after its name, or none if it has ended."""
    try:
        return (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return []
