"""Sub-commands run in memory against a stub of the platform."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.cli import check, entry, evidence, explain, rank, watch, workers
from autopilot.cli.console import CommandError
from stub_backend import StubOptions, site
from tests.unit.feeds.records import catalog_body, record, utilization_body
from tests.unit.feeds.records import entry as catalog_entry

ASKING = (check, evidence, explain, rank, watch, workers)
ALIAS = "chutesai/AutoPilot"


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """See `TextIOBase`."""
        return True


class CommandTestCase(SynchronousTestCase):
    """A stub, an empty working directory and an empty environment."""

    options = StubOptions(models=6, other_chutes=2, private_chutes=3, scenario_models=False)

    stream: type[io.StringIO] = io.StringIO

    def setUp(self) -> None:
        """Set up stub, directory and environment."""
        self.clock = Clock()
        self.stub = site(self.clock, self.options)
        self.join(self.stub.resource)
        self.environ: dict[str, str] = {"COLUMNS": "80"}
        self.patch(os, "environ", self.environ)
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)

    def join(self, resource: Any) -> None:
        """Send every request to this resource."""
        self.agent = RequestTraversalAgent(resource)
        for module in ASKING:
            self.patch(module, "verified_agent", lambda _reactor, _settings: self.agent)

    def begun(self, *arguments: str) -> tuple[Deferred[int], io.StringIO]:
        """Start the sub-command, and run everything that needs no time to pass."""
        output, heard = self.stream(), self.stream()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(heard):
            given = entry.parser().parse_args(arguments)
            ended = Deferred.fromCoroutine(given.command.run(self.clock, given))
            for _ in range(8):
                self.clock.advance(0)
                self.agent.flush()
        self.heard = heard.getvalue()
        if not heard.isatty():
            self.assertEqual(self.heard, "")
        return ended, output

    def ask(self, *arguments: str) -> tuple[int, str]:
        """Run it, and return the exit status and the output."""
        ended, output = self.begun(*arguments)
        return self.successResultOf(ended), output.getvalue()

    def ask_json(self, *arguments: str) -> Any:
        """Run it with ``--json``, and return the object."""
        return json.loads(self.ask(*arguments, "--json")[1])

    def refused(self, *arguments: str) -> str:
        """Return the error line of a failed run, which printed nothing else."""
        ended, output = self.begun(*arguments)
        said = str(self.failureResultOf(ended, CommandError).value)
        self.assertEqual(output.getvalue(), "")
        self.assertNotIn("\n", said)
        return said

    def saved(self, models: bytes | None = None, utilization: bytes | None = None) -> list[str]:
        """Save both feeds, and return their arguments; by default two models and a private one."""
        if models is None:
            models = catalog_body(
                catalog_entry("acme/A-TEE", chute_id="a", confidential_compute=True),
                catalog_entry("acme/B", chute_id="b", confidential_compute=False),
                catalog_entry("acme/C", chute_id="c"),
            )
        if utilization is None:
            utilization = utilization_body(
                record("acme/A-TEE", chute_id="a", active_instance_count=2),
                record("acme/B", chute_id="b", active_instance_count=9),
                record("[private chute]", chute_id="p"),
                record("acme/B", chute_id="x", active_instance_count=0),
                record("acme/X", chute_id="y"),
            )
        Path("models.json").write_bytes(models)
        Path("load.json").write_bytes(utilization)
        return ["--models", "models.json", "--utilization", "load.json"]
