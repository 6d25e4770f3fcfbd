"""The blocks of docs/private-mode.md, run with a router in private mode.

The stub's evidence has roots of its own, so that the router says ``test-roots`` where the blocks
insist on ``attested``: as they are they have to fail, and with that word to succeed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.smoke.processes import RouterProcess, StubProcess
from tests.sdk.recipes.cases import NODE_MODULES, PATIENCE, interpreter
from tests.unit.attestation import world
from tools.docs.blocks import PRIVATE, ROOT, blocks_of

KIT = ROOT / "tests" / "data" / "private"
_ADDRESS = "127.0.0.1:8080"
_REFUSED = "does not come from an attested instance"


class PrivatePageTests(SynchronousTestCase):
    """One stub and one router for all blocks."""

    _open: ClassVar[ExitStack | None] = None
    folder: Path
    stub: StubProcess
    router: RouterProcess

    @classmethod
    def setUpClass(cls) -> None:
        """Start both."""
        with ExitStack() as opened:
            cls.folder = Path(opened.enter_context(TemporaryDirectory(prefix="private-")))
            (cls.folder / "roots.pem").write_bytes(world.roots_pem())
            (cls.folder / "node_modules").symlink_to(NODE_MODULES)
            options = ("--token-delay-ms", "1", "--attestation-kit", str(KIT))
            cls.stub = StubProcess("stub", cls.folder, options)
            settings = {
                "PRIVATE": "ask",
                "PRIVATE_COLLATERAL_URL": f"http://127.0.0.1:{cls.stub.port}",
                "PRIVATE_TEST_ROOTS": str(cls.folder / "roots.pem"),
            }
            cls.router = RouterProcess("router", cls.folder, cls.stub.port, settings)
            opened.callback(cls.stub.kill)
            cls.stub.start()
            opened.callback(cls.router.kill)
            cls.router.start()
            cls.router.wait_ready()
            cls._open = opened.pop_all()

    @classmethod
    def tearDownClass(cls) -> None:
        """Stop both."""
        if cls._open is not None:
            cls._open.close()
            cls._open = None

    def setUp(self) -> None:
        """Start both if the class has not, as under trial."""
        if self._open is None:
            self.setUpClass()
            self.addCleanup(self.tearDownClass)

    def run_as(self, command: Iterable[str], text: str, name: str) -> tuple[int, str]:
        """Run a block as a file; return the exit status, and the output."""
        path = self.folder / name
        path.write_text(text.replace(_ADDRESS, f"127.0.0.1:{self.router.port}"))
        done = subprocess.run(
            (*command, str(path)),
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "CHUTES_API_KEY": "cpk_private.docs.page",
                "NO_PROXY": "127.0.0.1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout

    def both(self, language: str, command: Iterable[str], name: str) -> tuple[str, str]:
        """Run the only block of a language as it is, and with the word of the stub's roots."""
        (block,) = blocks_of(PRIVATE, language)
        status, refused = self.run_as(command, block.text, name)
        self.assertNotEqual(status, 0, refused)
        text = block.text.replace("attested;", "test-roots;")
        self.assertNotEqual(text, block.text)
        status, said = self.run_as(command, text, name)
        self.assertEqual(status, 0, said)
        return refused, said

    def test_python(self) -> None:
        """The hook of httpx raises unless the answer's field says what it should."""
        refused, said = self.both("python", (interpreter("CLIENTS_PYTHON"),), "block.py")
        self.assertIn(_REFUSED, refused)
        self.assertNotIn("Served by", refused)
        self.assertIn("Served by", said)

    def test_javascript(self) -> None:
        """So does the wrapper of fetch."""
        if shutil.which("node") is None or not (NODE_MODULES / ".installed").exists():
            raise SkipTest("node or its packages are not here; `make sdks` needs both")
        refused, said = self.both("js", ("node",), "block.mjs")
        self.assertIn(_REFUSED, refused)
        self.assertNotIn("Served by", refused)
        self.assertIn("Served by", said)

    def test_curl(self) -> None:
        """And the search in what curl keeps of the head."""
        _, said = self.both("sh", ("bash", "-euo", "pipefail"), "block.sh")
        self.assertIn("data: [DONE]", said)
        self.assertIn("x-chutes-autopilot-private: test-roots;age=", said)

    def test_nothing_else(self) -> None:
        """The page has one block for each of these, and others that are displayed only."""
        languages = [each.language for each in blocks_of(PRIVATE)]
        self.assertEqual(sorted(set(languages)), ["console", "js", "python", "sh", "text"])
