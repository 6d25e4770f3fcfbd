"""The cores that this process may use: as many as its affinity lists and its cgroup's quota allows.

Containers limit processor time by a quota (CFS bandwidth), which neither ``os.cpu_count`` nor the
affinity shows: a pod with two cores' worth of time on a node of 64 still sees 64.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from math import ceil, inf
from pathlib import Path, PurePosixPath

_CGROUP2 = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores(root: Path = _CGROUP2, membership: Path = _MEMBERSHIP) -> int:
    """Return the number of cores, at least 1; a quota of one and a half cores counts as two.

    ``root`` is where cgroups are mounted, ``membership`` the file that lists this process's.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    cores = affinity or os.cpu_count() or 1
    return max(1, min(cores, ceil(min(cgroup_quota(root, membership), cores))))


def cgroup_quota(root: Path = _CGROUP2, membership: Path = _MEMBERSHIP) -> float:
    """Return the smallest quota of this process's cgroup and those above, in cores; or infinity."""
    try:
        lines = membership.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return inf
    smallest = inf
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            smallest = min(smallest, _smallest(root, path, _quota_of_2))
        elif "cpu" in controllers.split(","):
            smallest = min(smallest, _smallest(root / "cpu", path, _quota_of_1))
    return smallest


def _smallest(root: Path, path: str, quota: Callable[[Path], float]) -> float:
    """Return the smallest quota on the way from a cgroup up to the root.

    Within a container the path may be that on the host, which is not there; its own cgroup is the
    root then.
    """
    parts = PurePosixPath(path.lstrip("/")).parts
    if ".." in parts:
        parts = ()
    return min(quota(root.joinpath(*parts[:length])) for length in range(len(parts) + 1))


def _quota_of_2(directory: Path) -> float:
    """Return the quota of a cgroup of version 2: ``cpu.max`` has a time and a period, or max."""
    try:
        time, period = (directory / "cpu.max").read_text("ascii").split()
        return inf if time == "max" else int(time) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return inf


def _quota_of_1(directory: Path) -> float:
    """Return the quota of a cgroup of version 1; a time of -1 means none."""
    try:
        time = int((directory / "cpu.cfs_quota_us").read_text("ascii"))
        period = int((directory / "cpu.cfs_period_us").read_text("ascii"))
        return inf if time <= 0 else time / period
    except (OSError, ValueError, ZeroDivisionError):
        return inf
