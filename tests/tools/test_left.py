"""What a run may leave behind is ignored by git and removed by `make clean`."""

from __future__ import annotations

import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tools.hygiene.left import ignored, main, uncleaned, untracked
from tools.hygiene.scan import ROOT, is_repository

_MAKEFILE = "clean:\n\trm -rf build .venv\n\tfind . -name __pycache__ -prune -exec rm -rf {} +\n"


class LeftTests(SynchronousTestCase):
    """A small project of its own."""

    def setUp(self) -> None:
        """Make it, and commit it."""
        self.root = Path(self.mktemp()).absolute()
        self.root.mkdir()
        self.write("Makefile", _MAKEFILE)
        self.write(".gitignore", "build/\n__pycache__/\n*.log\n.env\n")
        for command in (
            ("init", "--quiet"),
            ("add", "--all"),
            ("-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "One"),
        ):
            subprocess.run(["git", *command], cwd=self.root, check=True)

    def write(self, name: str, text: str = "") -> None:
        """A file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def test_clean(self) -> None:
        """Nothing, or only what is ignored and removed, or a person's own settings."""
        self.assertEqual(main(self.root), 0)
        for name in ("build/image/layer", "code/__pycache__/a.pyc", ".env"):
            self.write(name)
        self.assertEqual(untracked(self.root), [])
        self.assertEqual(ignored(self.root), ["build/", "code/__pycache__/"])
        self.assertEqual(main(self.root), 0)

    def test_seen(self) -> None:
        """A new file, and a changed one."""
        self.write("report.txt")
        self.write("Makefile", _MAKEFILE + "\n")
        self.assertEqual(sorted(untracked(self.root)), ["Makefile", "report.txt"])
        self.assertEqual(main(self.root), 1)

    def test_not_removed(self) -> None:
        """Ignored, and never removed."""
        self.write("logs/run.log")
        self.assertEqual(uncleaned(self.root, ignored(self.root)), ["logs/run.log"])
        self.assertEqual(main(self.root), 1)

    def test_ours(self) -> None:
        """What is in this checkout now, however far the run has come."""
        if not is_repository(ROOT):
            return
        self.assertEqual(uncleaned(ROOT, ignored(ROOT)), [])

    def test_no_repository(self) -> None:
        """Without git there is nothing to compare with."""
        bare = Path(self.mktemp()).absolute()
        bare.mkdir()
        self.assertEqual(main(bare), 0)
