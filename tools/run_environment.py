"""Creates the environment of `make demo` and `make run`, which has the runtime's lock and no more.

`python tools/run_environment.py ENVIRONMENT LOCK` needs the standard library only. It uses uv if
there is one, and otherwise the pip of its own interpreter or of the new environment. A lock that
extends another one is added to an environment that has the other. The router itself runs from the
checkout.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

_PIN = re.compile(r"^([a-z0-9-]+)==", re.MULTILINE)
_EXTENDS = re.compile(r"^-r ", re.MULTILINE)
_COLLECTING = re.compile(r"Collecting ([A-Za-z0-9._-]+)")
_INSTALLING = "Installing collected packages"
_MEGABYTE = 1_000_000
# Without bytecode, as a start compiles the small part that it imports; and without resolving
# dependencies, as the lock is complete. Each saves seconds.
_PIP = (
    "install",
    "--no-compile",
    "--no-deps",
    "--no-input",
    "--progress-bar=off",
    "--disable-pip-version-check",
    "--require-hashes",
)


class InstallError(Exception):
    """The packages could not be installed; the text is the installer's output."""


def pinned(lock: Path) -> list[str]:
    """Return the names of a lock's packages."""
    return _PIN.findall(lock.read_text("utf-8"))


def extends(lock: Path) -> bool:
    """Return whether a lock only adds to another one."""
    return _EXTENDS.search(lock.read_text("utf-8")) is not None


def size(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(each.lstat().st_size for each in folder.rglob("*") if not each.is_dir())


def progress(lines: Iterable[str], total: int) -> Iterator[str]:
    """Yield what to show for the lines that pip prints while it installs `total` packages."""
    count = 0
    for line in lines:
        if found := _COLLECTING.match(line):
            count += 1
            yield f"  {count} of {total}: {found[1]}"
        elif line.startswith(_INSTALLING):
            yield "  all there; writing them …"


class Installer:
    """Installs a lock into a new environment, or adds it to one, and reports to `output`."""

    def __init__(self, environment: Path, lock: Path, output: TextIO) -> None:
        self._environment = environment
        self._python = str(environment / "bin" / "python")
        self._lock = lock
        self._output = output
        self._names = pinned(lock)
        self._total = len(self._names)
        self._adds = extends(lock)

    def install(self) -> None:
        """Install, into a new environment unless the lock adds to one. Raises InstallError."""
        added = ", ".join(self._names)
        what, before = f"{self._total} packages", 0
        if self._adds:
            what, before = added, size(self._environment)
            self._say(
                f"Installing what {self._lock} adds: {added}, into {self._environment}. Once only."
            )
        else:
            self._say(
                f"Installing what the router needs to run: the {what} of {self._lock}, about"
                f" 40 MB, into {self._environment}. Once only, in about 15 seconds."
            )
        started = time.monotonic()
        if not self._with_uv():
            self._with_pip()
        taken = time.monotonic() - started
        megabytes = (size(self._environment) - before) / _MEGABYTE
        self._say(f"Installed {what}, {megabytes:.0f} MB, in {taken:.0f} s.")

    def _with_uv(self) -> bool:
        """Install with uv, and return whether that worked: only pip may know of a mirror."""
        uv = shutil.which("uv")
        if uv is None:
            return False
        self._make("--without-pip")
        command = (uv, "pip", "install", "--quiet", "--python", self._python)
        done = subprocess.run(
            (*command, "--require-hashes", "-r", str(self._lock)), capture_output=True, check=False
        )
        return done.returncode == 0

    def _with_pip(self) -> None:
        """Install with pip. Raises InstallError."""
        if find_spec("pip") is None:
            self._make()
            pip: Sequence[str] = (self._python, "-m", "pip")
        else:
            # Seconds are saved if the environment needs no pip of its own.
            self._make("--without-pip")
            pip = (sys.executable, "-m", "pip", "--python", self._python)
        with subprocess.Popen(
            (*pip, *_PIP, "-r", str(self._lock)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as running:
            assert running.stdout is not None
            heard: list[str] = []
            for shown in progress(_kept(running.stdout, heard), self._total):
                self._show(shown)
        self._show("")
        if running.returncode:
            raise InstallError("".join(heard).strip())

    def _make(self, *options: str) -> None:
        """Create an empty environment, unless the lock adds to one. Raises InstallError."""
        if self._adds:
            return
        command = (sys.executable, "-m", "venv", "--clear", *options, str(self._environment))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InstallError((done.stdout + done.stderr).strip())

    def _say(self, text: str) -> None:
        print(text, file=self._output, flush=True)

    def _show(self, text: str) -> None:
        """Replace the line of the progress, which is for terminals."""
        if self._output.isatty():
            print(f"\r\x1b[K{text}", end="", file=self._output, flush=True)


def _kept(lines: Iterable[str], kept: list[str]) -> Iterator[str]:
    for line in lines:
        kept.append(line)
        yield line


def main(arguments: Sequence[str], output: TextIO) -> int:
    """Create an environment, and return the exit status."""
    environment, lock = map(Path, arguments)
    try:
        Installer(environment, lock, output).install()
    except InstallError as problem:
        print(problem, file=output)
        print(f"{lock} could not be installed; the reason is above.", file=output)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stderr))
