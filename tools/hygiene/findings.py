"""Findings of gitleaks without the secrets themselves, and the baseline of known ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BASELINE = Path(__file__).with_name("baseline.json")
_MEMBERS = {"rule", "file", "digest", "reason"}


class BaselineError(Exception):
    """The baseline is invalid."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A text that looks like a secret; ``digest`` identifies it without revealing it.

    ``commit`` is empty for the working tree.
    """

    rule: str
    file: str
    line: int
    commit: str
    digest: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}"
        return f"{where} ({self.rule}, {self.digest})" + (
            f" in commit {self.commit[:12]}" if self.commit else ""
        )


def of_report(report: Iterable[dict[str, Any]]) -> tuple[Finding, ...]:
    """Return the findings in an unredacted report of gitleaks."""
    return tuple(
        Finding(
            rule=each["RuleID"],
            file=each["File"],
            line=each["StartLine"],
            commit=each["Commit"],
            digest=hashlib.sha256(each["Secret"].encode()).hexdigest()[:16],
        )
        for each in report
    )


class Baseline:
    """Texts that only look like secrets, each in one file and with a reason.

    Entries name neither lines nor commits, so they survive edits around the text and a rewritten
    history.
    """

    def __init__(self, path: Path = BASELINE) -> None:
        try:
            listed = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise BaselineError(f"{path.name} cannot be read: {error}") from error
        for each in listed:
            if set(each) != _MEMBERS or not all(each.values()):
                raise BaselineError(f"{path.name}: each entry has {sorted(_MEMBERS)}: {each}")
        self._known = {(each["rule"], each["file"], each["digest"]) for each in listed}

    def knows(self, finding: Finding) -> bool:
        """Return whether the finding is a known one."""
        return (finding.rule, finding.file, finding.digest) in self._known
