"""Tests of the log of a process that belongs to the router."""

from __future__ import annotations

import os
import sys
from io import StringIO
from unittest.mock import Mock

from twisted.trial.unittest import SynchronousTestCase

from autopilot.process.log_pipe import LogPipe
from autopilot.service.log_output import follow_log_settings, log_outputs, unblocked
from autopilot.settings import Settings
from tests.unit.observability.records import record


class LogOutputTests(SynchronousTestCase):
    """The sink, and what writes to it."""

    def test_pipe(self) -> None:
        """Standard output is never waited for if it is a pipe; other sinks stay as they are."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        reactor = Mock()
        with os.fdopen(writing, "w") as stream:
            self.patch(sys, "stdout", stream)
            pipe = unblocked(stream, reactor)
            self.assertIsInstance(pipe, LogPipe)
            reactor.addSystemEventTrigger.assert_called_once()
            other = StringIO()
            self.assertIs(unblocked(other, reactor), other)
        with open(self.mktemp(), "w", encoding="utf-8") as file:
            self.patch(sys, "stdout", file)
            self.assertIs(unblocked(file, reactor), file)
        self.assertIsNone(unblocked(None, reactor))

    def test_records_follow(self) -> None:
        """The outputs follow the settings of the log."""
        sink = StringIO()
        observer, records = log_outputs(sink, Settings(log_level="error"))
        records(record())
        self.assertEqual(sink.getvalue(), "")
        for each in (observer, records):
            follow_log_settings(each)(Settings(log_format="json"))
        records(record())
        self.assertTrue(sink.getvalue().startswith("{"))
