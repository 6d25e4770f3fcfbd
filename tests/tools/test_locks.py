"""A lock that is missing, modified or older than pyproject.toml is noticed."""

import json
import shutil
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tools.locks import ASKED, IN_IMAGE, LOCKS, RECORD, ROOT, SBOM, complaints, main


class LocksTests(SynchronousTestCase):
    """Each in a copy of this project's own files."""

    def setUp(self) -> None:
        """Copy what is compared."""
        self.root = Path(self.mktemp())
        (self.root / SBOM).parent.mkdir(parents=True)
        for name in (*LOCKS, ASKED, RECORD, SBOM):
            (self.root / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)

    def record(self) -> None:
        """Take the locks as they are."""
        self.assertEqual(main(["--record"], self.root), 0)

    def only_complaint(self) -> str:
        """Return the one line that is said."""
        (line,) = complaints(self.root)
        return line

    def test_this_projects_locks_agree(self) -> None:
        """What is committed agrees."""
        self.assertEqual(complaints(ROOT), [])

    def test_a_missing_lock(self) -> None:
        """It is named."""
        for name in LOCKS:
            kept = (self.root / name).read_bytes()
            (self.root / name).unlink()
            self.assertTrue(self.only_complaint().startswith(f"{name} is missing"))
            (self.root / name).write_bytes(kept)

    def test_a_modified_lock(self) -> None:
        """A single byte is enough."""
        for name in LOCKS:
            kept = (self.root / name).read_bytes()
            (self.root / name).write_bytes(kept + b"\n")
            self.assertTrue(complaints(self.root)[0].startswith(f"{name} was modified"))
            (self.root / name).write_bytes(kept)

    def test_dependencies_that_changed(self) -> None:
        """Another floor needs a new lock; another description does not."""
        asked = (self.root / ASKED).read_text("utf-8")
        (self.root / ASKED).write_text(asked.replace("Streaming,", "A streaming,"), "utf-8")
        self.assertEqual(complaints(self.root), [])
        (self.root / ASKED).write_text(asked.replace("klein>=24.8.0", "klein>=24.9.0"), "utf-8")
        self.assertIn("run `make locks`", self.only_complaint())

    def test_a_record_that_is_missing(self) -> None:
        """It is not taken for agreement, and recording mends it."""
        (self.root / RECORD).unlink()
        self.assertTrue(self.only_complaint().startswith(RECORD))
        self.record()
        self.assertEqual(main([], self.root), 0)

    def test_a_lock_that_is_not_described(self) -> None:
        """A bill of materials that is of another lock, broken or missing is to be made anew."""
        for name in IN_IMAGE:
            with (self.root / name).open("a") as lock:
                lock.write("# more\n")
            self.record()
            self.assertEqual(
                self.only_complaint(), f"{SBOM} is not of {name} as it is: run `make sbom`"
            )
            shutil.copy(ROOT / name, self.root / name)
        self.record()
        self.assertEqual(complaints(self.root), [])
        for broken in (
            "",
            "[]",
            "{}",
            '{"metadata": {"properties": [1]}}',
            json.dumps({"metadata": 1}),
        ):
            (self.root / SBOM).write_text(broken)
            self.not_described()
        (self.root / SBOM).unlink()
        self.not_described()

    def not_described(self) -> None:
        """Expect a complaint for each lock of the image."""
        expected = [f"{SBOM} is not of {name} as it is: run `make sbom`" for name in IN_IMAGE]
        self.assertEqual(complaints(self.root), expected)
