"""Tests of ``autopilot workers restart``: which process gets the signal, and which none."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from klein import Klein
from twisted.trial.unittest import SynchronousTestCase

from autopilot.cli import workers
from autopilot.cli.console import CommandError
from tests.unit.cli.asked import CommandTestCase

_COMMAND = b"python\0-P\0-m\0autopilot.service.worker\0reactor\0"


class Processes:
    """A folder like /proc."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, pid: int, parent: int, command: bytes = _COMMAND) -> None:
        """Add a process."""
        own = self.folder / str(pid)
        own.mkdir(parents=True)
        (own / "cmdline").write_bytes(command)
        (own / "stat").write_text(f"{pid} (python) 3 (x)) S {parent} 1 1 0\n")


class ParentTests(SynchronousTestCase):
    """The search for the parent."""

    def setUp(self) -> None:
        """Make a folder like /proc."""
        self.processes = Processes(Path(self.mktemp()))

    def parent_of(self, *pids: int) -> int:
        """Return the parent of workers."""
        return workers.parent_of(list(pids), self.processes.folder)

    def test_found(self) -> None:
        """The first worker that runs here has the parent; one that has just ended is skipped."""
        self.processes.add(41, 40)
        self.assertEqual(self.parent_of(39, 41), 40)

    def test_elsewhere(self) -> None:
        """Another program with the number of a worker, or none, means another machine."""
        self.processes.add(41, 40, b"nginx: worker\0")
        self.processes.add(42, 1)  # its parent has died
        for pids in ((41,), (42,), (99,), ()):
            error = self.assertRaises(CommandError, self.parent_of, *pids)
            self.assertIn("run the command where the router runs", str(error))


class RestartTests(CommandTestCase):
    """The command against the status of a router."""

    def setUp(self) -> None:
        """Serve a status, and note signals."""
        super().setUp()
        self.status = b'{"workers":{"wanted":2,"processes":[{"pid":41,"worker":0}]}}'
        app = Klein()
        app.route("/status.json")(lambda _request: self.status)
        self.join(app.resource())
        self.signals: list[tuple[int, int]] = []
        self.failing: type[OSError] | None = None
        self.patch(os, "kill", self.kill)
        self.patch(workers, "parent_of", lambda pids: pids[0] - 1)

    def kill(self, pid: int, number: int) -> None:
        """Note a signal."""
        if self.failing is not None:
            raise self.failing
        self.signals.append((pid, number))

    def test_restart(self) -> None:
        """The parent gets SIGUSR2."""
        status, output = self.ask("workers", "restart")
        self.assertEqual(status, 0)
        self.assertIn("restarted one after the other by process 40", output)
        self.assertEqual(self.signals, [(40, signal.SIGUSR2)])

    def test_single_process(self) -> None:
        """A router without workers is left alone."""
        self.status = b'{"ready":true}'
        status, output = self.ask("workers", "restart")
        self.assertEqual(status, workers.NO_WORKERS)
        self.assertIn("without workers", output)
        self.assertEqual(self.signals, [])

    def test_not_allowed(self) -> None:
        """Who may not do it, and what has gone, is said in one line."""
        self.failing = PermissionError
        self.assertIn("as the router's user or as root", self.refused("workers", "restart"))
        self.failing = ProcessLookupError
        self.assertIn("not processes of this machine", self.refused("workers", "restart"))

    def test_no_router(self) -> None:
        """Another program's response, or no worker, is an error."""
        for status, part in (
            (b"hello", "not what a router sends"),
            (b'{"workers":{"processes":[]}}', "none of the router's workers runs"),
        ):
            self.status = status
            self.assertIn(part, self.refused("workers", "restart"))
        self.assertEqual(self.signals, [])
