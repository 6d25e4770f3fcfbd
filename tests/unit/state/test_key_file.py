"""Tests of the file that keeps what the keys have spent."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.key_policy import Spent
from autopilot.state.budgets import KeyBudgets
from autopilot.state.key_file import BETWEEN_WRITES, KeyFile, read_state, write_state

_SPENT = {"k": Spent(0, 1, 2, 3, 4)}


class StateFileTests(SynchronousTestCase):
    """Reading and replacing."""

    def setUp(self) -> None:
        """Name a file."""
        self.path = self.mktemp()

    def test_both_ways(self) -> None:
        """What was written is read; only the owner may read it, and nothing is left beside it."""
        self.assertEqual(read_state(self.path), {})
        for spent in (_SPENT, {}, _SPENT):
            write_state(self.path, spent)
            self.assertEqual(read_state(self.path), spent)
            self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        self.assertEqual(list(Path(self.path).parent.glob("*.new")), [])

    def test_unreadable(self) -> None:
        """What the router has not written is refused."""
        for data in (b"", b"{", b"[]", b'{"format":1}', b'{"format":1,"spent":{"k":{}}}'):
            Path(self.path).write_bytes(data)
            problem = str(self.assertRaises(ValueError, read_state, self.path))
            self.assertIn("not what the router writes", problem)
        Path(self.path).write_bytes(b'{"format":2,"spent":{}}')
        self.assertIn("version", str(self.assertRaises(ValueError, read_state, self.path)))
        os.unlink(self.path)
        os.mkdir(self.path)
        self.assertIn("directory", str(self.assertRaises(ValueError, read_state, self.path)))

    def test_impossible_numbers(self) -> None:
        """Numbers that the router cannot have counted are refused, which no request may meet."""
        for day, tokens in ((-(10**15), 0), (10**9, 0), (1, -5), (1, 2**63)):
            spent = f'{{"k":{{"day":{day},"tokens_today":{tokens}}}}}'
            Path(self.path).write_text(f'{{"format":1,"spent":{spent}}}')
            self.assertRaises(ValueError, read_state, self.path)

    def test_link(self) -> None:
        """The file that a link leads to is replaced, so that it stays on its disk."""
        target = self.mktemp()
        Path(target).write_text("{")
        Path(self.path).symlink_to(Path(target).absolute())
        write_state(self.path, _SPENT)
        self.assertTrue(Path(self.path).is_symlink())
        self.assertEqual(read_state(target), _SPENT)

    def test_something_in_the_way(self) -> None:
        """What stands where the new file is written first is replaced, never followed."""
        victim = Path(self.mktemp())
        victim.write_text("mine")
        Path(f"{self.path}.{os.getpid()}.new").symlink_to(victim.absolute())
        write_state(self.path, _SPENT)
        self.assertEqual((victim.read_text(), read_state(self.path)), ("mine", _SPENT))

    def test_failure(self) -> None:
        """If it cannot be replaced, the former file stays, and nothing is left beside it."""
        write_state(self.path, _SPENT)
        self.patch(os, "replace", _full)
        self.assertRaises(OSError, write_state, self.path, {})
        self.assertEqual(read_state(self.path), _SPENT)
        self.assertEqual(list(Path(self.path).parent.glob("*.new")), [])


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


class KeyFileTests(SynchronousTestCase):
    """When the file is written."""

    def setUp(self) -> None:
        """Make accounts whose file is written in threads that the test lets run."""
        self.clock = Clock()
        self.path = self.mktemp()
        self.jobs: list[tuple[Deferred[None], Callable[..., None], tuple[Any, ...]]] = []
        self.budgets = KeyBudgets(self.clock.seconds, self.clock.seconds)
        self.file = KeyFile(self.clock, self.path, self.budgets, self.in_thread)

    def in_thread(self, function: Callable[..., None], *arguments: Any) -> Deferred[None]:
        """Keep a job."""
        job: Deferred[None] = Deferred()
        self.jobs.append((job, function, arguments))
        return job

    def work(self) -> None:
        """Do the job that waits."""
        ((job, function, arguments),), self.jobs = self.jobs, []
        execute(function, *arguments).chainDeferred(job)

    def spend(self) -> None:
        """Spend a token."""
        self.budgets.spend("k", 1, 0)
        self.file.add([])

    def kept(self) -> int:
        """Return the number of tokens in the file."""
        spent = read_state(self.path).get("k")
        return 0 if spent is None else spent.tokens_today

    def test_once_a_second(self) -> None:
        """However much is spent, the file is written once a second, and never twice at a time."""
        self.spend()
        self.spend()
        self.assertEqual(self.jobs, [])
        self.clock.advance(BETWEEN_WRITES)
        self.spend()
        self.clock.advance(5)
        self.work()
        self.assertEqual(self.kept(), 2)
        self.clock.advance(BETWEEN_WRITES)
        self.work()
        self.assertEqual(self.kept(), 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop(self) -> None:
        """The end waits for what has not been written, also while a write is under way."""
        self.successResultOf(self.file.stop())
        self.file = KeyFile(self.clock, self.path, self.budgets, self.in_thread)
        self.spend()
        self.clock.advance(BETWEEN_WRITES)
        self.spend()
        stopped = self.file.stop()
        self.work()
        self.assertNoResult(stopped)
        self.work()
        self.successResultOf(stopped)
        self.assertEqual(self.kept(), 2)
        self.spend()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_before_the_first_write(self) -> None:
        """What was spent in the last second is written at the end."""
        self.spend()
        stopped = self.file.stop()
        self.work()
        self.successResultOf(stopped)
        self.assertEqual((self.kept(), self.clock.getDelayedCalls()), (1, []))

    def test_restart(self) -> None:
        """A router that starts has what was spent before; a bad file is kept aside, and logged."""
        write_state(self.path, _SPENT)
        self.file.load()
        self.assertEqual(self.budgets.spent(), _SPENT)
        Path(self.path).write_text("{")
        with capturedLogs() as logs:
            self.file.load()
        (event,) = logs
        self.assertEqual(event["log_level"], LogLevel.error)
        self.assertEqual(self.budgets.spent(), _SPENT)
        self.assertEqual(Path(self.path + ".unreadable").read_text(), "{")

    def test_full_disk(self) -> None:
        """A write that fails is logged and tried again; the end tries once more only."""
        with capturedLogs() as logs:
            self.spend()
            self.clock.advance(BETWEEN_WRITES)
            self.patch(os, "replace", _full)
            self.work()
        (event,) = logs
        self.assertEqual(event["problem"], "No space left on device")
        self.clock.advance(BETWEEN_WRITES)
        stopped = self.file.stop()
        with capturedLogs():
            self.work()
            self.work()
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
