"""Manifests for the tests: their contents, and their validation by a schema."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import SkipTest

from tests.process.processes import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
COMPOSE = ROOT / "docker-compose.yaml"
_CHECKER = Path(__file__).with_name("checker.py")
_WITH_DEFAULT = re.compile(r"\$\{\w+:-([^}]*)\}")


class Manifests:
    """Some files, read and validated together."""

    def __init__(self, *paths: Path) -> None:
        if find_spec("kubernetes_validate") is None:
            raise SkipTest("kubernetes-validate is not installed here: `make venv` does it")
        command = (sys.executable, str(_CHECKER), *map(str, paths))
        printed = subprocess.run(command, check=True, capture_output=True).stdout
        checked = json.loads(printed)
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
def kubernetes() -> Manifests:
    """Return all manifests for Kubernetes, read once; callers must not change them."""
    return Manifests(*sorted(KUBERNETES.glob("*.yaml")))


@cache
def compose() -> Manifests:
    """Return the compose file, read once; callers must not change it."""
    return Manifests(COMPOSE)


def by_default(text: Any) -> str:
    """Return a value of the compose file with no variable set."""
    return _WITH_DEFAULT.sub(r"\1", str(text))


def seconds(text: str) -> float:
    """Return the seconds of a duration such as ``45s``."""
    return float(text.removesuffix("s"))


def dockerfile() -> str:
    """Return the Dockerfile of the image that the manifests run."""
    recipe = ROOT / "Dockerfile"
    if not recipe.exists():
        raise SkipTest("there is no Dockerfile yet")
    return recipe.read_text()
