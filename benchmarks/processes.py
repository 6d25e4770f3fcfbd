"""The child processes of a run, each pinned to a core and with a log of its own."""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Final, Self

HOST: Final = "127.0.0.1"
PROJECT: Final = Path(__file__).resolve().parent.parent

_KEPT = ("PATH", "LANG", "LC_ALL")
_LAST_LINES = 12
_POLL = 0.02
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class ProcessError(Exception):
    """A child process failed; the text ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of each part. With two cores, load and upstream share the second."""

    proxy: int
    load: int
    upstream: int

    @classmethod
    def available(cls) -> Cores:
        """Return the first cores that this process may use."""
        cores = sorted(os.sched_getaffinity(0))
        others = cores[1:] or cores
        return cls(cores[0], others[0], others[1 % len(others)])

    @property
    def shared(self) -> bool:
        """Whether load and upstream share a core."""
        return self.load == self.upstream


class Child:
    """A process pinned to a core and leading its own session; killed on exit of the context.

    Its standard error, and its output unless it `talks`, goes to a log in `folder`, which is also
    its working directory and its home.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        core: int,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        talks: bool = False,
    ) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        pipe = subprocess.PIPE if talks else None
        with self._log.open("wb") as log:
            try:
                self._process = subprocess.Popen(
                    command,
                    bufsize=0,  # or a line could wait in a buffer that select does not see
                    cwd=folder,
                    env=_environment(folder, environment or {}),
                    stdin=pipe or subprocess.DEVNULL,
                    stdout=pipe or log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=lambda: _prepare(core),
                )
            except OSError as error:
                raise ProcessError(f"{name} could not be started: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The id of the process and of its session."""
        return self._process.pid

    def kill(self) -> None:
        """Kill it and all processes of its session."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def hear(self, patience: float) -> str:
        """Return the next line of its output. Raises `ProcessError` if none arrives in time."""
        output = self._process.stdout
        assert output is not None
        # select suffices: the child writes whole lines, and waits for a reaction to each.
        ready, _, _ = select.select([output], [], [], patience)
        line = output.readline() if ready else b""
        if not line:
            raise self.failure("ended" if ready else f"wrote no line for {patience:.0f} s")
        return line.decode()

    def wait_until(self, fulfilled: Callable[[], bool], patience: float) -> None:
        """Poll `fulfilled`. Raises `ProcessError` if the process ends first, or on a timeout."""
        end = time.monotonic() + patience
        while not fulfilled():
            if self._process.poll() is not None:
                raise self.failure(f"ended with status {self._process.returncode}")
            if time.monotonic() > end:
                raise self.failure(f"was not ready after {patience:.0f} s")
            time.sleep(_POLL)

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def wait(self, patience: float) -> None:
        """Wait until it ends by itself. Raises `ProcessError` when it takes too long."""
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            raise self.failure(f"did not end in {patience:.0f} s") from None

    def failure(self, what: str) -> ProcessError:
        """Return an error with the end of the log."""
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()[-_LAST_LINES:]
        tail = "\n".join(f"    {line}" for line in lines) or "    (nothing in its log)"
        return ProcessError(f"{self.name} {what}; the end of its log:\n{tail}")


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def answers(port: int, path: str) -> bool:
    """Return whether a GET gets a 200."""
    connection = HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path, headers={"Authorization": "Bearer bench"})
        response = connection.getresponse()
        response.read()
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
    return response.status == 200


def _prepare(core: int) -> None:
    """Prepare the child: its core, its limit on descriptors, and SIGTERM when its parent ends."""
    os.sched_setaffinity(0, {core})
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _environment(folder: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without this process's settings: a proxy runs with its defaults."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {
        **kept,
        "HOME": str(folder),
        "PYTHONPATH": str(PROJECT),
        "PYTHONUNBUFFERED": "1",
        **more,
    }
