"""Manifests for the tests: their contents, and their validation by a schema."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import SkipTest

from tests.process.processes import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
COMPOSE = ROOT / "docker-compose.yaml"
SETTINGS = ROOT / "deploy" / "compose" / "settings.env"
_CHECKER = Path(__file__).with_name("checker.py")
_WITH_DEFAULT = re.compile(r"\$\{\w+:-([^}]*)\}")
_ALONE, _EACH_WORKER = 64 << 20, 45 << 20
"""Bytes of a process that serves alone or supervises, and of each worker."""
_THREADS = 10
"""The most that Twisted's reactor starts, for lookups of names."""


# Mistakes in a copy of a manifest, which the schemas must find: a key and a value each.
_MISTAKES = (
    (KUBERNETES / "deployment.yaml", "livenessProbe", "liveProbe"),
    (KUBERNETES / "deployment.yaml", "maxSkew: 1", "maxSkew: one"),
    (COMPOSE, "read_only: true", "readonly: true"),
    (COMPOSE, "retries: 3", "retries: []"),
)


class Manifests:
    """Some files with their contents, and with the problems that a schema reports."""

    def __init__(self, checked: Mapping[str, Any]) -> None:
        self.problems = {Path(path).name: each["problems"] for path, each in checked.items()}
        self._documents = {Path(path).name: each["documents"] for path, each in checked.items()}

    def __getitem__(self, name: str) -> Any:
        """Return the only document of a file."""
        (document,) = self._documents[name]
        return document

    def of_kind(self, kind: str) -> Any:
        """Return the only object of a kind."""
        every = (each for documents in self._documents.values() for each in documents)
        (found,) = (each for each in every if each.get("kind") == kind)
        return found


@cache
def _checked() -> dict[str, Any]:
    """Check all files and the copies with mistakes, in one process: its start takes longest."""
    if find_spec("kubernetes_validate") is None:
        raise SkipTest("kubernetes-validate is not installed here: `make venv` does it")
    with TemporaryDirectory() as folder:
        wrong = []
        for number, (path, right, mistake) in enumerate(_MISTAKES):
            wrong.append(Path(folder, f"{number}.yaml"))
            wrong[-1].write_text(path.read_text().replace(right, mistake))
        files = (*sorted(KUBERNETES.glob("*.yaml")), COMPOSE, *wrong)
        command = (sys.executable, str(_CHECKER), *map(str, files))
        printed = subprocess.run(command, check=True, capture_output=True).stdout
    found: dict[str, Any] = json.loads(printed)
    return found


@cache
def kubernetes() -> Manifests:
    """Return all manifests for Kubernetes, read once; callers must not change them."""
    return Manifests({path: _checked()[path] for path in map(str, KUBERNETES.glob("*.yaml"))})


@cache
def compose() -> Manifests:
    """Return the compose file, read once; callers must not change it."""
    return Manifests({str(COMPOSE): _checked()[str(COMPOSE)]})


def mistakes_in(original: Path) -> list[list[str]]:
    """Return the problems of each copy of a file with a mistake."""
    by_name = {Path(path).name: each["problems"] for path, each in _checked().items()}
    numbers = [number for number, (path, _, _) in enumerate(_MISTAKES) if path == original]
    return [by_name[f"{number}.yaml"] for number in numbers]


def by_default(text: Any) -> str:
    """Return a value of the compose file with no variable set."""
    return _WITH_DEFAULT.sub(r"\1", str(text))


def seconds(text: str) -> float:
    """Return the seconds of a duration such as ``45s``."""
    return float(text.removesuffix("s"))


def memory(text: str) -> int:
    """Return the bytes of a size such as ``1G`` or ``256Mi``, with K, M and G as powers of 1024."""
    number, unit = re.fullmatch(r"(\d+)([KMG])i?", text).groups()  # type: ignore[union-attr]
    return int(number) << {"K": 10, "M": 20, "G": 30}[unit]


def memory_needed(workers: int, buffered: int) -> int:
    """Return the bytes that a router takes with so many workers and so much buffered."""
    return _ALONE + (workers * _EACH_WORKER if workers > 1 else 0) + buffered


def tasks_needed(workers: int) -> int:
    """Return the processes and threads of a router with so many workers and a parent."""
    return (workers + 1) * (1 + _THREADS)


def dockerfile() -> str:
    """Return the Dockerfile of the image that the manifests run."""
    recipe = ROOT / "Dockerfile"
    if not recipe.exists():
        raise SkipTest("there is no Dockerfile yet")
    return recipe.read_text()
