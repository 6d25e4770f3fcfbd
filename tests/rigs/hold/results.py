"""The results of earlier runs, by family, so that a whole table can come from several runs.

A run stores each row as it has it: an interrupted one loses nothing, and `--resume` plays the rest.
Rows of different commits are never mixed unawares.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.rigs.hold.judge import Row, Verdict
from tests.rigs.hold.report import Machine
from tests.rigs.smoke.processes import ROOT

_DECIDING: Final = ("autopilot", "locks", "tests/rigs/hold", "tests/unit/feeds/records.py")
"""What decides the results; other changes of the tree do not."""


class MixedError(Exception):
    """The stored rows are of several commits."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The rows of one family, all of one commit."""

    commit: str
    machine: Machine
    rows: tuple[Row, ...]


class Results:
    """A folder with a file for each family."""

    def __init__(self, folder: Path, commit: str) -> None:
        self._folder = folder
        self._commit = commit

    def add(self, row: Row, machine: Machine) -> None:
        """Store a row; it replaces that of the same input, and all those of other commits."""
        path = self._folder / f"{row.family}.json"
        before = _read(path) if path.exists() else None
        kept = [] if before is None or before.commit != self._commit else before.rows
        if before is not None and kept:
            machine = _noisier(machine, before.machine)
        rows = [*(each for each in kept if each.key != row.key), row]
        found = {
            "commit": self._commit,
            "machine": asdict(machine),
            "rows": [asdict(each) for each in rows],
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n")

    def done(self) -> set[tuple[str, str]]:
        """Return the title and the setup of each row of this commit."""
        return {row.key for each in self._all() if each.commit == self._commit for row in each.rows}

    def load(self, *, mixed: bool = False) -> Stored:
        """Return all rows, and the noisiest machine.

        :raises MixedError: they are not all of this commit, and ``mixed`` does not permit that.
        """
        found = list(self._all())
        commits = sorted({each.commit for each in found})
        if not found or (commits != [self._commit] and not mixed):
            stored = ", ".join(commits) or "no commit"
            raise MixedError(f"The stored results are of {stored}; this tree is {self._commit}")
        machine = found[0].machine
        for each in found[1:]:
            machine = _noisier(machine, each.machine)
        return Stored(", ".join(commits), machine, tuple(r for each in found for r in each.rows))

    def _all(self) -> Iterator[Stored]:
        return map(_read, sorted(self._folder.glob("*.json")))


def _read(path: Path) -> Stored:
    found: dict[str, Any] = json.loads(path.read_text())
    rows = (Row(**{**row, "verdict": Verdict(row["verdict"])}) for row in found["rows"])
    return Stored(found["commit"], Machine(**found["machine"]), tuple(rows))


def _noisier(one: Machine, other: Machine) -> Machine:
    return one if one.noise >= other.noise else other


def in_order(rows: Iterable[Row], keys: Sequence[tuple[str, str]]) -> list[Row]:
    """Return the rows in the order of the suite, without those of inputs that it no longer has."""
    by_key = {row.key: row for row in rows}
    return [by_key[key] for key in keys if key in by_key]


def this_commit() -> str:
    """Return the commit of the tree, marked if what decides the results has changes on top."""
    head = _git("rev-parse", "--short=12", "HEAD").strip()
    changed = _git("status", "--porcelain", "--", *_DECIDING).strip()
    return f"{head or 'unknown'}{' with changes' if changed else ''}"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout
