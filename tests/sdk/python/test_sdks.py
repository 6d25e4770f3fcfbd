"""The tests in ``sdks``, run by the SDKs' interpreter: one process for each file."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from tests.process.serving import ServedTestCase
from tests.sdk.private import (
    INVOKE,
    PRIVATE_COMMANDS,
    PRIVATE_STUB,
    SLOW_STUB,
    private_calls,
    private_settings,
)

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PATIENCE = 300.0
# Some thousand requests, one after the other.
LONG = 3600.0
_PYTEST = ("-m", "pytest", "--quiet", "--noconftest", "-c", "/dev/null", "-p", "no:cacheprovider")
_EVERY_BYTE = "EVERY_BYTE"
_SKIPPED = re.compile(r"\d+ (?:skipped|xfailed|deselected)")


class SdkTests(ServedTestCase):
    """One stub and three routers for all tests."""

    routers: ClassVar = {"router": {}, "narrow": {"MAX_CONCURRENT_REQUESTS": "1"}}
    stub_options: ClassVar = (*PRIVATE_STUB, *SLOW_STUB)
    commands: ClassVar = PRIVATE_COMMANDS

    @classmethod
    def settings(cls, folder: Path, base: str) -> Mapping[str, Mapping[str, str]]:
        """Return the settings of all routers."""
        return {**super().settings(folder, base), "private": private_settings(folder, base)}

    @classmethod
    def reason_to_skip(cls) -> str | None:
        """Return why these tests cannot run, or None."""
        if "CLIENTS_PYTHON" not in os.environ:
            return "the Python clients are not installed here; `make sdks` does it"
        return None

    def run_file(self, name: str) -> None:
        """Run one test file; a failure shows pytest's output."""
        done = subprocess.run(
            (str(ROOT / os.environ["CLIENTS_PYTHON"]), *_PYTEST, f"--rootdir={ROOT}", name),
            cwd=HERE / "sdks",
            env={
                "HOME": os.environ.get("HOME", "/"),
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "NARROW_ROUTER_URL": self.address("narrow"),
                "PATH": os.environ["PATH"],
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONPATH": str(ROOT),
                "PRIVATE_ROUTER_URL": self.address("private"),
                "ROUTER_URL": self.address(),
                "STUB_URL": f"http://127.0.0.1:{self.stub.port}",
                **{name: "1" for name in (_EVERY_BYTE,) if name in os.environ},
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONG if _EVERY_BYTE in os.environ else PATIENCE,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIsNone(_SKIPPED.search(done.stdout), done.stdout)

    def run_either(self, name: str) -> None:
        """Run a test file of both modes; in private mode nothing is sent in clear text."""
        self.run_file(name)
        self.assertEqual(set(private_calls(self.stub.calls())), {INVOKE})

    def test_openai(self) -> None:
        """The official ``openai`` package."""
        self.run_either("test_openai.py")

    def test_langchain(self) -> None:
        """``langchain-openai``."""
        self.run_either("test_langchain.py")

    def test_litellm(self) -> None:
        """``litellm`` as a client."""
        self.run_either("test_litellm.py")

    def test_anthropic(self) -> None:
        """``anthropic`` on the messages endpoint."""
        self.run_file("test_anthropic.py")

    def test_words(self) -> None:
        """Both official packages, with every error of the platform."""
        self.run_file("test_words.py")

    def test_breaks(self) -> None:
        """``openai`` and ``anthropic`` with connections that break."""
        self.run_file("test_breaks.py")

    def test_bytes(self) -> None:
        """``httpx`` and ``aiohttp``."""
        self.run_file("test_bytes.py")
