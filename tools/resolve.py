"""The resolution behind `make locks`: every file of `locks/`, from pyproject.toml.

A lock that extends another one includes it by `-r` and pins additional packages only, so that no
package is pinned in two files of one environment.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
LOCKS: Final = ROOT / "locks"
_HEAD: Final = "# Made by `make locks` from pyproject.toml.\n"
_UV: Final = (
    *("pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--no-header"),
    *("--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-annotate"),
)
# Matches a pin and the lines with its hashes.
_PIN: Final = re.compile(r"^\S.*(?:\n .*)*\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock, with its inputs, the lock that it extends, and the one whose versions it adopts."""

    name: str
    asked: tuple[str, ...]
    on: str | None = None
    like: str | None = None


WANTED: Final = (
    Lock("runtime", ("pyproject.toml",)),
    Lock("tracing", ("--extra=otel", "pyproject.toml"), on="runtime"),
    Lock("private", ("--extra=private", "pyproject.toml"), on="runtime"),
    Lock(
        "development",
        ("--group=dev", "--extra=otel", "--extra=private", "pyproject.toml"),
        on="tracing",
    ),
    # The image's build stage installs the build backend only.
    Lock("build", ("--group=build",), like="development"),
    # LiteLLM caps the versions of openai, websockets and others.
    Lock("litellm", ("--group=litellm",)),
    Lock("frameworks", ("--group=frameworks",)),
    Lock("e2ee", ("--group=e2ee",)),
)


def blocks(text: str) -> list[str]:
    """Return the pins of a lock, each with its hashes, without comments and includes."""
    found = (each.group().rstrip("\n") for each in _PIN.finditer(text))
    return [each for each in found if not each.startswith(("#", "-"))]


def included(name: str | None, folder: Path = LOCKS) -> list[str]:
    """Return all pins of a lock, including those of the locks that it extends."""
    if name is None or not (path := folder / f"{name}.txt").exists():
        return []
    text = path.read_text("utf-8")
    below = re.findall(r"^-r (\w+)\.txt$", text, re.MULTILINE)
    return [*(pin for each in below for pin in included(each, folder)), *blocks(text)]


def layered(lock: Lock, resolved: str, folder: Path = LOCKS) -> str:
    """Return the text of a lock without the pins of the lock that it extends."""
    below = set(included(lock.on, folder))
    pins = [each for each in blocks(resolved) if each not in below]
    include = f"-r {lock.on}.txt\n" if lock.on else ""
    return _HEAD + include + "".join(f"{each}\n" for each in pins)


def resolve(lock: Lock, options: list[str], uv: Path) -> None:
    """Resolve one lock; versions change only if the options say so."""
    with TemporaryDirectory() as scratch:
        output, below = Path(scratch, "resolved.txt"), Path(scratch, "below.txt")
        output.write_text("".join(f"{each}\n" for each in included(lock.name)), "utf-8")
        below.write_text("".join(f"{each}\n" for each in included(lock.on or lock.like)), "utf-8")
        command = (
            *(str(uv), *_UV, *options, f"--constraint={below}", f"--output-file={output}"),
            *lock.asked,
        )
        subprocess.run(command, cwd=ROOT, check=True)
        (LOCKS / f"{lock.name}.txt").write_text(layered(lock, output.read_text("utf-8")), "utf-8")


def main(options: list[str]) -> int:
    """Resolve all locks in order; the options are passed to uv."""
    for lock in WANTED:
        try:
            resolve(lock, options, Path(sys.executable).with_name("uv"))
        except subprocess.CalledProcessError as failed:
            print(f"{lock.name} could not be resolved", file=sys.stderr)
            return failed.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
