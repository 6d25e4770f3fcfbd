"""Test cases that share a stub and routers as processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import ClassVar
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.smoke.processes import RouterProcess, StubProcess

# Tests share the models, so failures must not cool them.
_USUAL = {"LOG_LEVEL": "warn", "COOLDOWN_FAILURES": "100"}


class ServedTestCase(SynchronousTestCase):
    """A stub with `stub_options`, and a router for each entry of `routers`: its name and settings.

    All tests of a class share them; under trial, which has no class-level set-up here, each test
    has its own.
    """

    routers: ClassVar[Mapping[str, Mapping[str, str]]] = MappingProxyType({"router": {}})
    stub_options: ClassVar[Sequence[str]] = ()
    commands: ClassVar[Mapping[str, Sequence[str]]] = MappingProxyType({})
    """How routers are started, by their names, if not as usual."""
    stub: StubProcess
    served: Mapping[str, RouterProcess]
    _open: ClassVar[ExitStack | None] = None

    @classmethod
    def reason_to_skip(cls) -> str | None:
        """Return why these tests cannot run, or None."""
        return None

    @classmethod
    def settings(cls, folder: Path, base: str) -> Mapping[str, Mapping[str, str]]:
        """Return the settings of each router; the stub is at `base`, files go to `folder`."""
        return cls.routers

    @classmethod
    def setUpClass(cls) -> None:
        """Start the processes, unless a requirement is missing."""
        missing = cls.reason_to_skip()
        if missing is not None:
            raise SkipTest(missing)
        with ExitStack() as opened:
            folder = Path(opened.enter_context(TemporaryDirectory(prefix="served-")))
            cls.stub = StubProcess("stub", folder, ("--token-delay-ms", "1", *cls.stub_options))
            base = f"http://127.0.0.1:{cls.stub.port}"
            usual = {**_USUAL, "MESSAGES_BASE_URL": base, "RESPONSES_BASE_URL": base}
            cls.served = {
                name: RouterProcess(
                    name, folder, cls.stub.port, {**usual, **settings}, cls.commands.get(name, ())
                )
                for name, settings in cls.settings(folder, base).items()
            }
            opened.callback(cls.stub.kill)
            cls.stub.start()
            for each in cls.served.values():
                opened.callback(each.kill)
                each.start(wait=False)
            for each in cls.served.values():
                each.wait_ready()
            cls._open = opened.pop_all()

    @classmethod
    def tearDownClass(cls) -> None:
        """Stop the processes."""
        if cls._open is not None:
            cls._open.close()
            cls._open = None

    def setUp(self) -> None:
        """Start the processes if the class has not."""
        if self._open is None:
            self.setUpClass()
            self.addCleanup(self.tearDownClass)
        self.stub.reset()

    def address(self, name: str = "router") -> str:
        """Return the base URL of a router."""
        return f"http://127.0.0.1:{self.served[name].port}"
