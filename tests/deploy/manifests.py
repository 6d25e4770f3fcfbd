"""Manifests as the tests see them: what is in them, and what a schema says of them."""

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
    """Some files, read and checked in one go."""

    def __init__(self, *paths: Path) -> None:
        if find_spec("kubernetes_validate") is None:
            raise SkipTest("kubernetes-validate is not installed here: `make venv` does it")
        command = (sys.executable, str(_CHECKER), *map(str, paths))
        printed = subprocess.run(command, check=True, capture_output=True).stdout
        checked = json.loads(printed)
        self.problems = {Path(path).name: each["problems"] for path, each in checked.items()}
        self._documents = {Path(path).name: each["documents"] for path, each in checked.items()}

    def __getitem__(self, name: str) -> Any:
        """The one document of a file."""
        (document,) = self._documents[name]
        return document

    def of_kind(self, kind: str) -> Any:
        """The one object of a kind."""
        every = (each for documents in self._documents.values() for each in documents)
        (found,) = (each for each in every if each.get("kind") == kind)
        return found


@cache
def kubernetes() -> Manifests:
    """All manifests for Kubernetes, read once and to be left as they are."""
    return Manifests(*sorted(KUBERNETES.glob("*.yaml")))


@cache
def compose() -> Manifests:
    """The compose file, read once and to be left as it is."""
    return Manifests(COMPOSE)


def by_default(text: Any) -> str:
    """What a value of the compose file is when no variable is set."""
    return _WITH_DEFAULT.sub(r"\1", str(text))


def seconds(text: str) -> float:
    """A duration such as ``45s``."""
    return float(text.removesuffix("s"))


def dockerfile() -> str:
    """The recipe of the image that the manifests run."""
    recipe = ROOT / "Dockerfile"
    if not recipe.exists():
        raise SkipTest("there is no Dockerfile yet")
    return recipe.read_text()
