"""Groups of processes that may use a share of a core, by the system's control groups.

A share must be enforced in short periods: with the usual tenth of a second, a process that is out
of time would answer nothing for most of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

PERIOD_US: Final = 10_000
_V1 = Path("/sys/fs/cgroup/cpu")
_V2 = Path("/sys/fs/cgroup")


class ConfinementError(Exception):
    """This system lets this process make no such group; the text says why."""


@contextmanager
def confined(name: str, share: float, pid: int) -> Iterator[None]:
    """Confine a process, with all its threads, to a share of a core.

    :raises ConfinementError: there is no control group for the processor that may be written.
    """
    quota = int(share * PERIOD_US)
    first_version = (_V1 / "cpu.cfs_quota_us").exists()
    group = (_V1 if first_version else _V2) / f"bench-{os.getpid()}-{name}"
    try:
        group.mkdir()
    except OSError as error:
        raise ConfinementError(f"no control group can be made: {error.strerror}") from None
    try:
        if first_version:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        (group / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        group.rmdir()
        raise ConfinementError(f"no control group limits the processor: {error}") from None
    try:
        yield
    finally:
        _leave(group, pid)


def _leave(group: Path, pid: int) -> None:
    with suppress(OSError):  # the process has ended
        (group.parent / "cgroup.procs").write_text(str(pid))
    group.rmdir()
