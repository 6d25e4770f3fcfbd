"""Locks that stand on each other: what each holds, and their result together."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tools.resolve import LOCKS, WANTED, Lock, blocks, included, layered

_A = "a==1 \\\n    --hash=sha256:aa"
_B = "b==2 ; sys_platform == 'win32' \\\n    --hash=sha256:bb \\\n    --hash=sha256:bc"
_C = "c==3 \\\n    --hash=sha256:cc"


class LayerTests(SynchronousTestCase):
    """Made-up locks."""

    def test_blocks(self) -> None:
        """Pins with their hashes, without comments and includes."""
        self.assertEqual(blocks(f"# made\n-r base.txt\n{_A}\n{_B}\n"), [_A, _B])
        self.assertEqual(blocks(""), [])

    def test_layers(self) -> None:
        """A lock pins what the one below it does not, and includes that one."""
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        self.assertEqual(included("low", folder), [])
        low, high = Lock("low", ()), Lock("high", (), on="low")
        (folder / "low.txt").write_text(layered(low, f"{_A}\n", folder))
        text = layered(high, f"{_A}\n{_B}\n{_C}\n", folder)
        self.assertEqual(text.splitlines()[1], "-r low.txt")
        self.assertEqual(blocks(text), [_B, _C])
        (folder / "high.txt").write_text(text)
        self.assertEqual(included("high", folder), [_A, _B, _C])


class LockTests(SynchronousTestCase):
    """The project's own locks."""

    def test_files(self) -> None:
        """Each lock is one that `make locks` writes."""
        self.assertEqual(
            {each.stem for each in LOCKS.glob("*.txt")}, {each.name for each in WANTED}
        )

    def test_no_index(self) -> None:
        """No lock says where packages come from: that is for whoever installs."""
        for path in LOCKS.glob("*.txt"):
            text = path.read_text("utf-8")
            self.assertNotIn("://", text)
            options = set(re.findall(r"^-\S+", text, re.MULTILINE))
            self.assertLessEqual(options, {"-r"}, path.name)

    def test_pinned_once(self) -> None:
        """No package has two versions among locks that are installed together."""
        for lock in WANTED:
            pins = [re.split(r"==| ", each, maxsplit=2)[:3] for each in included(lock.name)]
            versions: dict[str, set[str]] = {}
            for pin, each in zip(pins, included(lock.name), strict=True):
                if " ; " not in each.partition("\\")[0]:
                    versions.setdefault(pin[0], set()).add(pin[1])
            self.assertEqual({name for name, found in versions.items() if len(found) > 1}, set())
