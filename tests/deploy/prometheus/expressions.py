"""A check of PromQL expressions by a few patterns.

promtool checks the grammar. The patterns find names that do not exist and functions that do not fit
the type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from tests.deploy.prometheus.exported import Sample

_SELECTOR = re.compile(r"\b((?:chutes_autopilot|process)_\w+|up)\b(?:\{([^}]*)\})?")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPED = re.compile(r"\b(?:by|without)\s*\(([^)]*)\)")
_OF_COUNTERS = re.compile(r"\b(?:rate|irate|increase)\s*\(\s*(\w+)")
_QUANTILE = re.compile(r"\bhistogram_quantile\s*\(")
_WHOLE_RANGES = re.compile(r"\b(?:rate|irate|increase|changes)\s*\(\s*\w+(?:\{[^}]*\})?\[")


def mistakes(expression: str, known: Mapping[str, Sample]) -> list[str]:
    """Return the mistakes in an expression, as text."""
    return list(_mistakes(expression, known))


def _mistakes(expression: str, known: Mapping[str, Sample]) -> Iterator[str]:
    asked = [(name, matchers or "") for name, matchers in _SELECTOR.findall(expression)]
    if not asked:
        yield "no metric"
    offered: set[str] = set()
    for name, matchers in asked:
        if name not in known:
            yield f"no metric {name}"
            continue
        offered |= known[name].labels
        for label in set(_LABEL.findall(matchers)) - known[name].labels:
            yield f"{name} has no label {label}"
    for group in _GROUPED.findall(expression):
        for label in {each.strip() for each in group.split(",")} - offered:
            yield f"nothing here has a label {label} to group by"
    yield from _misapplied(expression, known)


def _misapplied(expression: str, known: Mapping[str, Sample]) -> Iterator[str]:
    for name in _OF_COUNTERS.findall(expression):
        if name in known and known[name].kind != "counter":
            yield f"{name} is a {known[name].kind}: a rate of it means nothing"
    if _QUANTILE.search(expression) and not re.search(r"_bucket\b.*", expression):
        yield "a quantile of what has no buckets"
    counters = [name for name, _ in _SELECTOR.findall(expression) if _is_total(name)]
    if len(counters) > len(_WHOLE_RANGES.findall(expression)):
        yield "a counter by itself, which only grows"


def _is_total(name: str) -> bool:
    return name.endswith(("_total", "_bucket", "_count", "_sum"))
