"""How the platform itself reads `model`: rewritten names, switches, suffixes and lists.

A router that forwards a list or an unlisted name gets what this says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from stub_backend.population import Chute, Population
from stub_backend.problem import Problem

THINKING = ":THINKING"
RENAMED = "-next"
REWRITTEN = 8
_TEE = "-TEE"
_OLD_ORGANISATIONS = {"northwind/": "northwind-ai/"}
_SUFFIXES = (":latency", ":throughput")
_COLD = frozenset({"503-cold"})
_FULL = frozenset({"429-capacity", "429-capacity-short", "429-capacity-retry-after"})


def find_chute(body: Mapping[str, Any], population: Population) -> Chute | Problem:
    """The chute that `model` names: a name, a chute id, with or without suffix, or a list."""
    model = body.get("model")
    if model is None:
        return Problem(404, "No matching chute found!")
    if not isinstance(model, str):
        return Problem(500, None)
    said = rewritten(model.removesuffix(THINKING), population)
    exact = known(said, population)
    if exact is not None:
        return exact
    chosen = _chosen(_tokens(said), population)
    return chosen or Problem(404, f"model not found: {model}")


def known(name: str, population: Population) -> Chute | None:
    """The model of a name or chute id; a name of the feeds' `renamed` mode counts as well."""
    return population.find(name) or population.find(name.removesuffix(RENAMED))


def rewritten(name: str, population: Population) -> str:
    """The name the platform takes for a whole `model`: some old ones stand for newer ones."""
    for old, new in _OLD_ORGANISATIONS.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    tee = (each.name for each in population.chat if each.tee and each.name.endswith(_TEE))
    return name + _TEE if name + _TEE in set(islice(tee, REWRITTEN)) else name


def _tokens(model: str) -> Sequence[str]:
    """The names in a list or behind a suffix, in order and once each."""
    trimmed = model.strip()
    for suffix in _SUFFIXES:
        if trimmed.lower().endswith(suffix):
            trimmed = trimmed[: -len(suffix)]
            break
    stripped = (token.strip() for token in trimmed.split(","))
    return list(dict.fromkeys(token for token in stripped if token))


def _chosen(tokens: Sequence[str], population: Population) -> Chute | None:
    """The first that is free, else the first that is full; unknown and cold ones drop out."""
    found = [each for token in tokens if (each := known(token, population))]
    if len(tokens) > 1:
        found = [each for each in found if each.load.active and each.scenario not in _COLD]
    free = (each for each in found if each.scenario not in _FULL)
    return next(free, found[0] if found else None)
