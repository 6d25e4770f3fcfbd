"""Tests of the number of cores: by affinity, and by the quotas of both versions of cgroups."""

from __future__ import annotations

import os
from math import inf
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import TestCase

from autopilot.process.cores import cgroup_quota, usable_cores


class CoresTests(TestCase):
    """What a process may use, not what the machine has."""

    def setUp(self) -> None:
        """Make a directory that stands for where cgroups are mounted."""
        self.root = Path(self.mktemp())
        self.root.mkdir()
        self.membership = self.root / "membership"

    def write(self, path: str, text: str) -> None:
        """Write a file below the root."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "ascii")

    def quota(self) -> float:
        """Return the quota of this tree."""
        return cgroup_quota(self.root, self.membership)

    def test_version_2(self) -> None:
        """The smallest quota on the way up to the root counts."""
        self.write("membership", "0::/pods/one\n")
        self.assertEqual(self.quota(), inf)
        self.write("pods/one/cpu.max", "max 100000\n")
        self.assertEqual(self.quota(), inf)
        self.write("pods/cpu.max", "150000 100000\n")
        self.assertEqual(self.quota(), 1.5)
        self.write("pods/one/cpu.max", "50000 100000\n")
        self.assertEqual(self.quota(), 0.5)

    def test_version_1(self) -> None:
        """The older files count too; -1 is no quota."""
        self.write("membership", "5:memory:/other\n4:cpu,cpuacct:/one\n")
        self.write("cpu/one/cpu.cfs_quota_us", "-1\n")
        self.write("cpu/one/cpu.cfs_period_us", "100000\n")
        self.assertEqual(self.quota(), inf)
        self.write("cpu/one/cpu.cfs_quota_us", "300000\n")
        self.assertEqual(self.quota(), 3.0)

    def test_path_of_the_host(self) -> None:
        """In a container, whose path may not exist, the root is its own cgroup."""
        self.write("cpu.max", "200000 100000\n")
        for path in ("/../../elsewhere", "/kubepods/pod1"):
            self.write("membership", f"0::{path}\n")
            self.assertEqual(self.quota(), 2.0)

    def test_unreadable(self) -> None:
        """A file that is missing or odd is no quota."""
        self.assertEqual(self.quota(), inf)
        self.write("membership", "odd\n0::/\n")
        for text in ("", "x y", "1 0", "max"):
            self.write("cpu.max", text)
            self.assertEqual(self.quota(), inf)

    def test_cores(self) -> None:
        """The smaller of affinity and quota counts; a part of a core counts as one."""
        self.write("membership", "0::/\n")
        with patch.object(os, "sched_getaffinity", lambda process: set(range(6))):
            for text, cores in (("max 100000", 6), ("150000 100000", 2), ("10000 100000", 1)):
                self.write("cpu.max", text)
                self.assertEqual(usable_cores(self.root, self.membership), cores)
            self.write("cpu.max", "6400000 100000")
            self.assertEqual(usable_cores(self.root, self.membership), 6)

    def test_this_process(self) -> None:
        """The real files give a number that the machine has."""
        self.assertIn(usable_cores(), range(1, (os.cpu_count() or 1) + 1))
