"""Comparison of the mutants that survive a run with the known ones in ``survivors.md``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

AT_LEAST = 0.97
"""The share of mutants that must be killed."""

# Two of mutmut's words; any other is that of a mutant that ran and was not killed.
_KILLED = "killed"
_NOT_RUN = "not checked"


class Mutant(NamedTuple):
    """A function and its changed line; mutmut's own numbers shift with every edit."""

    function: str
    change: str

    @property
    def module(self) -> str:
        """The name of the function's module."""
        return self.function.partition(".")[0]


class Judgement(NamedTuple):
    """The result of a run. ``gone``: listed mutants that are killed, or no longer exist."""

    killed: int
    total: int
    unknown: list[Mutant]
    gone: list[Mutant]

    @property
    def good(self) -> bool:
        """Whether enough mutants are killed and all survivors are known."""
        return self.total > 0 and self.killed >= AT_LEAST * self.total and not self.unknown


def listed(text: str) -> dict[Mutant, str]:
    """Return the mutants of a table with their reasons; a row has function, change and reason."""
    found = {}
    for line in text.splitlines():
        if line.startswith("| `"):
            function, change, reason = line.strip("|").split(" | ", 2)
            found[Mutant(_bare(function), _bare(change))] = reason.strip()
    return found


def _bare(cell: str) -> str:
    return cell.strip().strip("`").strip().replace("\\|", "|")


def judge(total: int, survived: Iterable[Mutant], known: Iterable[Mutant]) -> Judgement:
    """Compare the mutants that survived with the known ones."""
    survivors = list(survived)
    expected = set(known)
    return Judgement(
        killed=total - len(survivors),
        total=total,
        unknown=[each for each in survivors if each not in expected],
        gone=sorted(expected.difference(survivors)),
    )


def results(text: str) -> dict[str, str | None]:
    """Return the status of each mutant in mutmut's list; None if the mutant was not run."""
    lines = (line.strip().partition(": ") for line in text.splitlines())
    return {name: None if status == _NOT_RUN else status for name, colon, status in lines if colon}


def survived(statuses: Mapping[str, str | None]) -> list[str]:
    """Return the mutants that were run and not killed."""
    return [name for name, status in statuses.items() if status not in (None, _KILLED)]


def by_module(statuses: Mapping[str, str | None]) -> Iterator[tuple[str, int, int, int]]:
    """Yield each module with the number of its mutants that were killed, run and not run."""
    for module in sorted(set(map(_module, statuses))):
        found = [status for name, status in statuses.items() if _module(name) == module]
        left = found.count(None)
        yield module, found.count(_KILLED), len(found) - left, left


def _module(name: str) -> str:
    """Return the module in mutmut's name of a mutant, without its package."""
    return name.rpartition(".")[0].rpartition(".")[2]


def shown(name: str, diff: str) -> Mutant:
    """Return a mutant, from mutmut's name for it and the diff."""
    return Mutant(_function(name), " ".join(_added(diff)))


def _added(diff: str) -> Iterator[str]:
    for line in diff.splitlines():
        if line.startswith("+") and not line.startswith("+++"):
            yield " ".join(line[1:].split())


def _function(name: str) -> str:
    """Return the function in a mutant's name, for example ``eligible.EligibleModels.serving``."""
    path, _, last = name.rpartition(".")
    function = last.rpartition("__mutmut_")[0]
    kept = function.removeprefix("xǁ").replace("ǁ", ".") if "ǁ" in function else function[2:]
    return f"{path.rpartition('.')[2]}.{kept}"
