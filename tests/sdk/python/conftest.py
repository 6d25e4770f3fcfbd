"""One router and one stub, as child processes, for all client tests of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.rigs.smoke.processes import RouterProcess, StubProcess

# The tests in ``sdks`` run in the SDKs' environment; see test_sdks.py.
collect_ignore = ["sdks"]


@dataclass(frozen=True)
class Served:
    """A ready router, and the platform behind it."""

    router: RouterProcess
    stub: StubProcess

    @property
    def base_url(self) -> str:
        """The base URL, the only parameter of an SDK that changes."""
        return f"http://127.0.0.1:{self.router.port}/v1"

    def models_called(self) -> list[str]:
        """Return the models of the upstream calls, in order."""
        return [call["model"] for call in self.stub.calls()]


@pytest.fixture(scope="session")
def _processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("clients")
    stub = StubProcess("stub", folder, ["--token-delay-ms", "1", "--time-scale", "0.01"])
    base = f"http://127.0.0.1:{stub.port}"
    # Tests share the models.
    settings = {"LOG_LEVEL": "warn", "COOLDOWN_FAILURES": "100", "RESPONSES_BASE_URL": base}
    router = RouterProcess("router", folder, stub.port, settings)
    try:
        stub.start()
        router.start()
        router.wait_ready()
        yield Served(router, stub)
    finally:
        router.kill()
        stub.kill()


@pytest.fixture
def served(_processes: Served) -> Served:
    """Return the processes, with an empty upstream log."""
    _processes.stub.reset()
    return _processes
