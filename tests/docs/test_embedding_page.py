"""The whole programs on the page for embedders, run as they stand there."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.smoke.client import HOST, NoAnswerError, fetch_json, get
from tests.rigs.smoke.processes import Child, StubProcess, free_port
from tests.rigs.smoke.waiting import until
from tools.docs.blocks import ROOT, blocks_of, file_name

_CHAT = {"model": "chutesai/AutoPilot", "messages": [{"role": "user", "content": "Hello"}]}
_PAGE = ROOT / "docs" / "embedding.md"


class ProgramTests(SynchronousTestCase):
    """A platform, and both programs beside each other."""

    def setUp(self) -> None:
        """Start the platform, and write the programs into a directory."""
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.programs = {}
        for each in blocks_of(_PAGE, "python"):
            name = file_name(each)
            if name is not None:
                self.programs[name] = self.folder / name
                self.programs[name].write_text(each.text)
        stub = StubProcess("stub", self.folder, ())
        self.addCleanup(stub.kill)
        stub.start()
        base = f"http://{HOST}:{stub.port}"
        self.settings = {
            "BACKEND_BASE_URL": base,
            "MODELS_URL": f"{base}/v1/models",
            "UTILIZATION_URL": f"{base}/chutes/utilization",
            "API_BASE_URL": base,
        }

    def started(self, name: str, *command: str, **settings: str) -> Child:
        """Start a program."""
        child = Child(name, self.folder, (sys.executable, *command), **self.settings, **settings)
        self.addCleanup(child.kill)
        child.start()
        return child

    def status(self, child: Child, port: int, path: str) -> int | None:
        """Return the status of a page, None while the program does not listen."""
        self.assertIsNone(child.status, child.output().decode())
        try:
            return get(port, path).finish().status
        except (OSError, NoAnswerError):
            return None

    def test_programs(self) -> None:
        """Both answer a chat, serve the operators' pages where the page says, and stop."""
        port, admin, site = free_port(), free_port(), free_port()
        self.assertEqual(set(self.programs), {"gateway.tac", "site.py"})
        twistd = str(Path(sys.executable).parent / "twistd")
        gateway = self.started(
            "gateway",
            *(twistd, "--nodaemon", "--pidfile=", "--python=gateway.tac"),
            LISTEN_ADDR=f"{HOST}:{port}",
            ADMIN_LISTEN_ADDR=f"{HOST}:{admin}",
        )
        klein = self.started("site", "site.py", PORT=str(site))
        until("the gateway is ready", lambda: self.status(gateway, port, "/readyz") == 200)
        until("the site is ready", lambda: self.status(klein, site, "/llm/readyz") == 200)
        self.assertEqual(self.status(gateway, admin, "/metrics"), 200)
        self.assertEqual(self.status(klein, site, "/"), 200)
        for path, status in (
            ("/internal/status", 200),
            ("/internal/metrics", 200),
            ("/llm/metrics", 404),
        ):
            self.assertEqual(self.status(klein, site, path), status, path)
        for served, path in ((port, "/v1/chat/completions"), (site, "/llm/v1/chat/completions")):
            answer = fetch_json(served, path, _CHAT)
            self.assertTrue(answer["choices"][0]["message"]["content"])
        for each in (gateway, klein):
            each.signal(signal.SIGTERM)
            self.assertIn(each.wait(), (0, -signal.SIGTERM))
            self.assertNotIn(b"Traceback", each.output())

    def test_faulty_settings(self) -> None:
        """The application prints each fault in one line, and does not start."""
        twistd = str(Path(sys.executable).parent / "twistd")
        gateway = self.started(
            "gateway",
            *(twistd, "--nodaemon", "--pidfile=", "--python=gateway.tac"),
            LISTEN_ADDR="8080",
            COMMIT="half",
        )
        self.assertEqual(gateway.wait(), 1)
        first, second = gateway.output().decode().splitlines()
        self.assertTrue(first.startswith("LISTEN_ADDR: "), first)
        self.assertTrue(second.startswith("COMMIT: "), second)
