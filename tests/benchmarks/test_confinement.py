"""Tests of the confinement of a process to a share of a core."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import confinement
from benchmarks.confinement import PERIOD_US, ConfinementError, confined


class ConfinementTests(SynchronousTestCase):
    """Both versions of the system's interface, in a folder of files."""

    def setUp(self) -> None:
        """Make both folders."""
        self.first, self.second = Path(self.mktemp()), Path(self.mktemp())
        for folder in (self.first, self.second):
            folder.mkdir()
            (folder / "cgroup.procs").touch()
        self.patch(confinement, "_V1", self.first)
        self.patch(confinement, "_V2", self.second)
        # The system removes the files of a group with it.
        self.enterContext(mock.patch.object(Path, "rmdir", _remove))

    def test_second_version(self) -> None:
        """A group has a quota in each period, and the process; then it is removed."""
        with confined("a", 0.2, 77):
            (group,) = (each for each in self.second.iterdir() if each.is_dir())
            self.assertEqual((group / "cpu.max").read_text(), f"{PERIOD_US // 5} {PERIOD_US}")
            self.assertEqual((group / "cgroup.procs").read_text(), "77")
        self.assertEqual([each.name for each in self.second.iterdir()], ["cgroup.procs"])
        self.assertEqual((self.second / "cgroup.procs").read_text(), "77")

    def test_first_version(self) -> None:
        """The older interface has a file for each number."""
        (self.first / "cpu.cfs_quota_us").touch()
        with confined("a", 0.5, 77):
            (group,) = (each for each in self.first.iterdir() if each.is_dir())
            self.assertEqual((group / "cpu.cfs_quota_us").read_text(), str(PERIOD_US // 2))
            self.assertEqual((group / "cpu.cfs_period_us").read_text(), str(PERIOD_US))

    def test_not_permitted(self) -> None:
        """Without the right to make a group, the error says so."""
        failed = PermissionError(1, "Operation not permitted")
        with (
            mock.patch.object(Path, "mkdir", side_effect=failed),
            self.assertRaises(ConfinementError) as caught,
        ):
            confined("a", 0.2, 77).__enter__()
        self.assertIn("not permitted", str(caught.exception))


def _remove(folder: Path) -> None:
    for each in folder.iterdir():
        each.unlink()
    os.rmdir(folder)
