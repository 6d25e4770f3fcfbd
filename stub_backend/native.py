"""The platform's own interpretation of `model`: rewritten names, suffixes and lists.

It applies when a router forwards a list or a name that is not in the catalog.
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
    """Return the chute of `model`: a name or chute id, possibly with a suffix, or a list."""
    model = body.get("model")
    if model is None:
        return Problem(404, "No matching chute found!")
    if not isinstance(model, str):
        return Problem(500, None)
    name = rewritten(model.removesuffix(THINKING), population)
    exact = known(name, population)
    if exact is not None:
        return exact
    chosen = _chosen(_tokens(name), population)
    return chosen or Problem(404, f"model not found: {model}")


def known(name: str, population: Population) -> Chute | None:
    """Return the model of a name or chute id; names of the feeds' `renamed` mode match too."""
    return population.find(name) or population.find(name.removesuffix(RENAMED))


def rewritten(name: str, population: Population) -> str:
    """Return the name that the platform substitutes for a model's old name."""
    for old, new in _OLD_ORGANISATIONS.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    tee = (each.name for each in population.chat if each.tee and each.name.endswith(_TEE))
    return name + _TEE if name + _TEE in set(islice(tee, REWRITTEN)) else name


def _tokens(model: str) -> Sequence[str]:
    """Return the distinct names of a selector in order, without its suffix."""
    trimmed = model.strip()
    for suffix in _SUFFIXES:
        if trimmed.lower().endswith(suffix):
            trimmed = trimmed[: -len(suffix)]
            break
    stripped = (token.strip() for token in trimmed.split(","))
    return list(dict.fromkeys(token for token in stripped if token))


def _chosen(tokens: Sequence[str], population: Population) -> Chute | None:
    """Return the first free model, else the first full one; unknown and cold ones are skipped."""
    found = [each for token in tokens if (each := known(token, population))]
    if len(tokens) > 1:
        found = [each for each in found if each.load.active and each.scenario not in _COLD]
    free = (each for each in found if each.scenario not in _FULL)
    return next(free, found[0] if found else None)
