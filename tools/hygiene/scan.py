"""Scans of a repository by gitleaks: its files, its history, and the messages of commits."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.hygiene.findings import Finding, of_report

ROOT = Path(__file__).resolve().parents[2]
# In the same environment as the other packages of locks/development.txt.
GITLEAKS = Path(sys.executable).with_name("gitleaks")
CONFIG = ROOT / ".gitleaks.toml"
# Used without git, which would list the files of the project.
_NOT_OURS = {".venv", "build", "dist", "node_modules", "__pycache__"}


class ScanError(Exception):
    """The scan failed, which differs from finding nothing."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """What was scanned, as text, and the findings."""

    what: str
    findings: tuple[Finding, ...]


class Scanner:
    """gitleaks, at this path."""

    def __init__(self, gitleaks: Path, config: Path = CONFIG) -> None:
        if not gitleaks.is_file():
            raise ScanError("gitleaks is not installed: nothing was scanned")
        self._gitleaks = gitleaks
        self._config = config

    def version(self) -> str:
        """Return the version that gitleaks reports."""
        return self._run(["version"], ROOT).strip()

    def tree(self, root: Path) -> Scanned:
        """Scan the files: tracked ones, and untracked ones that are not ignored."""
        names = _files(root)
        with tempfile.TemporaryDirectory() as copy:
            for name in names:
                if (root / name).is_file() and not (root / name).is_symlink():
                    target = Path(copy, name)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(root / name, target)
            found = self._report(["dir", "."], Path(copy))
        return Scanned(f"working tree: {len(names)} files", found)

    def history(self, root: Path) -> Scanned:
        """Scan all changes of all commits that any reference reaches."""
        found = self._report(["git", "--log-opts=--all", "."], root)
        what = f"history: {_git(root, 'rev-list', '--all', '--count')} commits"
        if _git(root, "rev-parse", "--is-shallow-repository") == "true":
            what += ", and no more: this clone is shallow (git fetch --unshallow)"
        return Scanned(what, found)

    def messages(self, root: Path) -> Scanned:
        """Scan the messages and authors of commits and tags."""
        form = "--format=%an %ae %cn %ce%n%B"
        text = _git(root, "log", "--all", form) + _git(
            root, "tag", "--list", "--format=%(contents)"
        )
        return Scanned("messages of commits and tags", self._report(["stdin"], root, text))

    def _report(self, command: Sequence[str], folder: Path, text: str = "") -> tuple[Finding, ...]:
        """Run gitleaks and return its report, which no file may contain: it has the secrets."""
        options = (
            *("--config", str(self._config), "--no-banner", "--log-level=error"),
            *("--report-format=json", "--report-path=-", "--exit-code=0"),
            # no comment in a file may suppress a finding; only the baseline can
            "--ignore-gitleaks-allow",
        )
        written = self._run([*command, *options], folder, text)
        try:
            return of_report(json.loads(written))
        except (ValueError, KeyError, TypeError):
            raise ScanError("gitleaks gave no report: nothing was scanned") from None

    def _run(self, arguments: Sequence[str], folder: Path, text: str = "") -> str:
        done = subprocess.run(
            [str(self._gitleaks), *arguments],
            cwd=folder,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ScanError(f"gitleaks ended with status {done.returncode}: {done.stderr.strip()}")
        return done.stdout


def is_repository(root: Path) -> bool:
    """Return whether this folder itself is a repository, not only one above it."""
    return (root / ".git").exists()


def _files(root: Path) -> list[str]:
    if is_repository(root):
        listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        return sorted(filter(None, listed.split("\0")))
    paths = (each.relative_to(root) for each in root.rglob("*"))
    return sorted(str(path) for path in paths if not _NOT_OURS.intersection(path.parts))


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ScanError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()
