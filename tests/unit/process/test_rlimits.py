"""Tests of raising the limit on open files."""

from __future__ import annotations

import os
import subprocess
import sys
from math import inf
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from autopilot.process.rlimits import MAX_DESCRIPTORS, descriptor_limit, use_all_descriptors

_ROOT = Path(__file__).resolve().parents[3]
_RAISED = """
import resource
from autopilot.process.rlimits import use_all_descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
print(use_all_descriptors(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


class _Limits:
    """A system with these limits; -1 is unlimited."""

    RLIMIT_NOFILE = 7
    RLIM_INFINITY = -1

    def __init__(self, soft: int, hard: int, *, refuses: bool = False) -> None:
        self.limits = soft, hard
        self._refuses = refuses

    def getrlimit(self, which: int) -> tuple[int, int]:
        assert which == self.RLIMIT_NOFILE
        return self.limits

    def setrlimit(self, which: int, limits: tuple[int, int]) -> None:
        assert which == self.RLIMIT_NOFILE
        if self._refuses:
            raise ValueError("too many")
        self.limits = limits


class DescriptorTests(SynchronousTestCase):
    """`use_all_descriptors`."""

    def test_a_process(self) -> None:
        """A real process may then open as many files as its hard limit permits."""
        done = subprocess.run(
            [sys.executable, "-c", _RAISED],
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            check=True,
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.stdout.split(), ["200", "200", "200"])

    def test_limits(self) -> None:
        """The limit is raised to the hard limit or about a million, and never lowered."""
        for soft, hard, after in (
            (1024, 524_288, 524_288),
            (1024, -1, MAX_DESCRIPTORS),
            (1024, 1 << 30, MAX_DESCRIPTORS),
            (1 << 30, 1 << 30, 1 << 30),
            (-1, -1, -1),
            (4096, 4096, 4096),
        ):
            limits: Any = _Limits(soft, hard)
            self.assertEqual(use_all_descriptors(limits), after)
            self.assertEqual(limits.limits, (after, hard))

    def test_refused(self) -> None:
        """If the system refuses, the limit stays."""
        limits: Any = _Limits(1024, -1, refuses=True)
        self.assertEqual(use_all_descriptors(limits), 1024)
        self.assertEqual(limits.limits, (1024, -1))

    def test_current_limit(self) -> None:
        """The limit in effect is the soft one; there may be none."""
        for soft, limit in ((1024, 1024), (-1, inf)):
            limits: Any = _Limits(soft, -1)
            self.assertEqual(descriptor_limit(limits), limit)
        self.assertGreater(descriptor_limit(), 0)
