"""The scan for secrets finds what is planted, wherever it is, and tells nothing of it.

What is planted is made up here, at random: nothing in this file is or looks like a secret.
"""

from __future__ import annotations

import json
import random
import string
import subprocess
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tools.hygiene.findings import Baseline, BaselineError, Finding
from tools.hygiene.scan import GITLEAKS, ScanError, Scanned, Scanner


def _of(alphabet: str, length: int) -> str:
    return "".join(random.choices(alphabet, k=length))


def chutes_key() -> str:
    """A key as the platform's are."""
    lower = string.ascii_lowercase + string.digits
    parts = (_of(string.hexdigits.lower(), 32), _of(string.hexdigits.lower(), 32), _of(lower, 32))
    return "cpk_" + ".".join(parts)


def forge_token() -> str:
    """A token as a forge's are, which gitleaks knows itself."""
    return "ghp" + "_" + _of(string.ascii_letters + string.digits, 36)


class ScanTests(SynchronousTestCase):
    """A small repository of its own for each test."""

    def setUp(self) -> None:
        """Make the repository, with one honest commit."""
        try:
            self.scanner = Scanner(GITLEAKS)
        except ScanError:
            raise SkipTest("gitleaks is not installed: make secrets installs it") from None
        self.root = Path(self.mktemp()).absolute()
        self.root.mkdir()
        self.git("init", "--quiet")
        (self.root / ".gitignore").write_text("local/\n")
        (self.root / "settings.env").write_text("#CHUTES_API_KEY=\nBASE=http://127.0.0.1\n")
        self.commit("An honest commit")

    def git(self, *arguments: str) -> None:
        """Run git there, under a made-up name."""
        who = ("-c", "user.name=Someone", "-c", "user.email=someone@example.com")
        subprocess.run(["git", *who, *arguments], cwd=self.root, check=True, capture_output=True)

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def plant(self, secret: str, name: str = "settings.env") -> None:
        """Write it where people write them."""
        (self.root / name).write_text(f"BASE=http://127.0.0.1\nCHUTES_API_KEY={secret}\n")

    def found(self, scanned: Scanned, rule: str, file: str) -> Finding:
        """Expect one finding."""
        (finding,) = scanned.findings
        self.assertEqual((finding.rule, finding.file), (rule, file))
        return finding

    def test_nothing(self) -> None:
        """An honest repository passes, and it is said what was looked at."""
        tree, history = self.scanner.tree(self.root), self.scanner.history(self.root)
        self.assertEqual(tree, Scanned("working tree: 2 files", ()))
        self.assertEqual(history, Scanned("history: 1 commits", ()))
        self.assertEqual(self.scanner.messages(self.root).findings, ())

    def test_tree(self) -> None:
        """In a tracked file, before it is committed; of the platform's and of another's."""
        for secret, rule in ((chutes_key(), "chutes-api-key"), (forge_token(), "github-pat")):
            self.plant(secret)
            finding = self.found(self.scanner.tree(self.root), rule, "settings.env")
            self.assertEqual((finding.line, finding.commit), (2, ""))
            self.assertNotIn(secret, str(finding))

    def test_shapes(self) -> None:
        """The first part of a key is enough, and so is the other kind of key."""
        for secret in (chutes_key().partition(".")[0], chutes_key().replace("cpk", "cak")):
            self.plant(secret)
            self.found(self.scanner.tree(self.root), "chutes-api-key", "settings.env")

    def test_untracked(self) -> None:
        """In a file that the next commit would take; not in one that git ignores."""
        self.plant(chutes_key(), "notes.txt")
        self.found(self.scanner.tree(self.root), "chutes-api-key", "notes.txt")
        (self.root / "local").mkdir()
        (self.root / "notes.txt").rename(self.root / "local" / "notes.txt")
        self.assertEqual(self.scanner.tree(self.root).findings, ())

    def test_history(self) -> None:
        """In a commit that was taken back, also on a branch that is not the current one."""
        self.git("checkout", "--quiet", "-b", "aside")
        self.plant(chutes_key())
        self.commit("Try it")
        (self.root / "settings.env").write_text("BASE=http://127.0.0.1\n")
        self.commit("Take it back")
        self.git("checkout", "--quiet", "-")
        self.assertEqual(self.scanner.tree(self.root).findings, ())
        finding = self.found(self.scanner.history(self.root), "chutes-api-key", "settings.env")
        self.assertIn("in commit", str(finding))

    def test_message(self) -> None:
        """In what a commit says."""
        self.git("commit", "--quiet", "--allow-empty", "--message", f"Works with {chutes_key()}")
        (finding,) = self.scanner.messages(self.root).findings
        self.assertEqual(finding.rule, "chutes-api-key")

    def test_no_excuse_in_the_file(self) -> None:
        """A comment beside it does not make it known."""
        self.plant(chutes_key() + "  # gitleaks:allow")
        self.found(self.scanner.tree(self.root), "chutes-api-key", "settings.env")

    def test_shallow(self) -> None:
        """A clone of the last commit says that it is no more."""
        self.commit_again()
        copy = self.root.with_name(self.root.name + "-copy")
        self.git("clone", "--quiet", "--depth=1", f"file://{self.root}", str(copy))
        self.assertIn(
            "1 commits, and no more: this clone is shallow", self.scanner.history(copy).what
        )

    def commit_again(self) -> None:
        """One more honest commit."""
        self.git("commit", "--quiet", "--allow-empty", "--message", "Another")

    def test_known(self) -> None:
        """What the baseline knows is known; another text in the same file is not."""
        self.plant(chutes_key())
        finding = self.found(self.scanner.tree(self.root), "chutes-api-key", "settings.env")
        listed = self.root / "baseline.json"
        entry = {"rule": finding.rule, "file": finding.file, "digest": finding.digest}
        listed.write_text(json.dumps([entry | {"reason": "made up"}]))
        self.assertTrue(Baseline(listed).knows(finding))
        self.plant(chutes_key())
        other = self.found(self.scanner.tree(self.root), "chutes-api-key", "settings.env")
        self.assertFalse(Baseline(listed).knows(other))

    def test_broken_configuration(self) -> None:
        """A tool that fails has found nothing out."""
        broken = self.root / "broken.toml"
        broken.write_text("[[rules]]\nid = 'a'\nregex = '('\n")
        with self.assertRaises(ScanError):
            Scanner(GITLEAKS, broken).tree(self.root)


class BaselineTests(SynchronousTestCase):
    """The list itself."""

    def test_ours(self) -> None:
        """It can be read."""
        Baseline()

    def test_reason(self) -> None:
        """An entry without a reason is refused, and so is what is no list."""
        for text in (
            '[{"rule": "a", "file": "b", "digest": "c", "reason": ""}]',
            "[{}]",
            "nothing",
        ):
            path = Path(self.mktemp())
            path.write_text(text)
            with self.assertRaises(BaselineError):
                Baseline(path)

    def test_not_installed(self) -> None:
        """Without gitleaks nothing is said to be clean."""
        with self.assertRaisesRegex(ScanError, "nothing was scanned"):
            Scanner(Path("/nowhere/gitleaks"))
