"""Tests of the allocator's thresholds, and of what collections leave out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from autopilot.process.malloc import (
    TRIM_THRESHOLD_BYTES,
    keep_freed_memory,
    return_freed_memory,
)

_ROOT = Path(__file__).resolve().parents[3]
_ROUNDS = 20
_FAULTS = f"""
import resource, sys
from autopilot.process.malloc import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "kept" else None
def work():
    joined = b"".join([bytes(65_536) for _ in range(16)])
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({_ROUNDS}):
    work()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

_FROZEN = """
import gc, weakref
from autopilot.process.malloc import leave_startup_alone
class Node: pass
leave_startup_alone()
print(gc.get_freeze_count() > 1000, len(gc.get_objects()) < 100)
node = Node()
node.own, alive = node, weakref.ref(node)
del node
gc.collect()
print(alive() is None)
"""


def _faults(how: str) -> tuple[str, int]:
    output = subprocess.run(
        [sys.executable, "-c", _FAULTS, how],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    understood, faults = output.split()
    return understood, int(faults)


class _Library:
    """A C library that accepts some options."""

    def __init__(self, *refused: int) -> None:
        self._refused = refused
        self.told: dict[int, int] = {}

    def mallopt(self, option: int, value: int) -> int:
        self.told[option] = value
        return int(option not in self._refused)


class KeepFreedMemoryTests(SynchronousTestCase):
    """`keep_freed_memory`."""

    def test_a_body_after_another_takes_no_new_pages(self) -> None:
        """The pages of one megabyte body are reused for the next one."""
        understood, faults = _faults("kept")
        if understood == "False":
            raise SkipTest("this C library has no mallopt")
        self.assertLess(faults, _ROUNDS)
        self.assertGreater(_faults("as it is")[1], 10 * _ROUNDS)

    def test_it_says_how_much_may_stay(self) -> None:
        """The trim threshold is the documented one."""
        library = _Library()
        self.assertTrue(keep_freed_memory(library))
        self.assertIn(TRIM_THRESHOLD_BYTES, library.told.values())

    def test_a_library_without_the_option(self) -> None:
        """A C library without mallopt is left alone."""
        self.assertFalse(keep_freed_memory(object()))

    def test_a_library_that_refuses(self) -> None:
        """A rejected option is reported."""
        self.assertFalse(keep_freed_memory(_Library(-3)))


class LeaveStartupAloneTests(SynchronousTestCase):
    """`leave_startup_alone`, in a process of its own, as it cannot be taken back for one test."""

    def test_frozen(self) -> None:
        """What exists at the call is excluded from collections, and later garbage is not."""
        output = subprocess.run(
            [sys.executable, "-c", _FROZEN],
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        self.assertEqual(output.split(), ["True", "True", "True"])


class ReturnTests(SynchronousTestCase):
    """What the start has freed."""

    def test_returned(self) -> None:
        """The C library returns all that it can, and says whether there was any."""
        for result in (0, 1):
            padding: list[int] = []

            def trim(pad: int, result: int = result, padding: list[int] = padding) -> int:
                padding.append(pad)
                return result

            self.assertIs(return_freed_memory(SimpleNamespace(malloc_trim=trim)), result == 1)
            self.assertEqual(padding, [0])

    def test_other_library(self) -> None:
        """Another C library is left alone."""
        self.assertFalse(return_freed_memory(SimpleNamespace()))
