"""Tests of the start of child processes; those of a router run in `tests/process/workers`."""

from __future__ import annotations

import os
import sys
from typing import Any
from unittest.mock import Mock

from twisted.trial.unittest import SynchronousTestCase

from autopilot.process.spawn import environment_without, spawn_module


class SpawnTests(SynchronousTestCase):
    """What a reactor is asked to start."""

    def spawn(self, reactor: Any, *, piped: bool) -> Any:
        """Start a module."""
        return spawn_module(reactor, "protocol", "some.module", ("word",), {3: 33}, {}, piped=piped)

    def test_module(self) -> None:
        """The module runs in this Python, never one that lies in the working directory."""
        reactor = Mock()
        self.assertIs(self.spawn(reactor, piped=False), reactor.spawnProcess.return_value)
        protocol, program, arguments = reactor.spawnProcess.call_args.args[:3]
        self.assertEqual((protocol, program), ("protocol", sys.executable))
        options = ("-P", "-X", "no_debug_ranges")
        self.assertEqual(arguments, (sys.executable, *options, "-m", "some.module", "word"))

    def test_descriptors(self) -> None:
        """Output is shared or piped; nothing is left open here, even if the start fails."""
        reactor = Mock()
        opened = set()
        for piped, output in ((False, (1, 2)), (True, ("r", "r"))):
            self.spawn(reactor, piped=piped)
            given = reactor.spawnProcess.call_args.args[-1]
            opened.add(given[0])
            self.assertEqual((given[1], given[2], given[3]), (*output, 33))
        reactor.spawnProcess.side_effect = OSError
        self.assertRaises(OSError, self.spawn, reactor, piped=True)
        opened.add(reactor.spawnProcess.call_args.args[-1][0])
        for each in opened:
            self.assertRaises(OSError, os.fstat, each)

    def test_environment(self) -> None:
        """Settings and what a service manager said stay here; the import path is passed on."""
        environ = {"SECRET": "1", "HOME": "/home", "LISTEN_FDS": "2", "NOTIFY_SOCKET": "@x"}
        got = environment_without({"SECRET"}, environ, ("", "/lib"))
        self.assertEqual(got, {"HOME": "/home", "PYTHONPATH": f"{os.getcwd()}{os.pathsep}/lib"})
