"""The bill of materials names all that is locked, and is the committed one."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from pathlib import Path

from packaging.requirements import Requirement
from twisted.trial.unittest import SynchronousTestCase

from autopilot import __version__
from tools.locked import pins
from tools.locks import IN_IMAGE, ROOT, SBOM
from tools.sbom import dependencies, document, licence, main

_LOCK = ROOT / IN_IMAGE[-1]


class DocumentTests(SynchronousTestCase):
    """What is made of this project's lock."""

    def test_the_committed_one(self) -> None:
        """Made again it has the same bytes; so has a raised version to come with a new one."""
        committed = (ROOT / SBOM).read_bytes()
        self.assertTrue(document().encode() == committed, f"{SBOM} is old: run `make sbom`")

    def test_it_is_whole(self) -> None:
        """Each package of the lock with its digests and a licence, under the router's version."""
        read = json.loads(document())
        self.assertEqual(read["metadata"]["component"]["version"], __version__)
        listed = {
            (
                each["name"],
                each["version"],
                tuple(digest["content"] for digest in each["externalReferences"][0]["hashes"]),
            )
            for each in read["components"]
        }
        self.assertEqual(listed, {(pin.name, pin.version, pin.hashes) for pin in pins(_LOCK)})
        self.assertEqual([each["name"] for each in read["components"] if not each["licenses"]], [])

    def test_every_package_has_a_reason(self) -> None:
        """From the router each can be reached, and what is reached is there."""
        needs = {each["ref"]: each["dependsOn"] for each in json.loads(document())["dependencies"]}
        reached, todo = set(), [f"pkg:pypi/chutes-autopilot@{__version__}"]
        while todo:
            ref = todo.pop()
            if ref not in reached:
                reached.add(ref)
                todo += needs[ref]
        self.assertEqual(reached, set(needs))

    def test_a_lock_with_a_gap(self) -> None:
        """It is no document, and what is missing is named."""
        root = Path(self.mktemp())
        root.mkdir(parents=True)
        shutil.copy(ROOT / "pyproject.toml", root)
        (root / "locks").mkdir()
        for name in IN_IMAGE:
            kept = (ROOT / name).read_text("utf-8").replace("hyperlink==", "other==")
            (root / name).write_text(kept, "utf-8")
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            self.assertEqual(main([str(root / "made")], root), 1)
        self.assertIn("hyperlink is needed, and private.txt has none", said.getvalue())
        self.assertFalse((root / "made").exists())


class ImageTests(SynchronousTestCase):
    """Where the image has it."""

    def test_the_label_says_where_it_is(self) -> None:
        """It is let through to the builder, copied, and named by a label."""
        recipe = (ROOT / "Dockerfile").read_text("utf-8")
        (folder,) = re.findall(rf"^COPY (?:--chmod=644 )?{SBOM} (\S+/)$", recipe, re.MULTILINE)
        self.assertIn(f' chutes-autopilot.sbom="{folder}{Path(SBOM).name}"\n', recipe)
        self.assertIn(f"!{SBOM}\n", (ROOT / ".dockerignore").read_text("utf-8"))


class DependenciesTests(SynchronousTestCase):
    """What packages ask for, where the image runs."""

    def test_extras_and_markers(self) -> None:
        """An extra brings what it asks for, once it was asked for; other systems bring nothing."""
        asked = {
            "a": ["b[fast]", "c; sys_platform == 'win32'", "d; extra == 'never'"],
            "b": ["e; extra == 'fast'", "F_f", "a"],
            "e": [],
            "f-f": [],
        }
        found = dependencies(
            [Requirement("a>=1")], lambda name: [Requirement(each) for each in asked[name]]
        )
        self.assertEqual(found, {"": {"a"}, "a": {"b"}, "b": {"a", "e", "f-f"}})

    def test_licences(self) -> None:
        """SPDX knows most of them; words are kept as words, and none is none."""
        declared = {"acknowledgement": "declared"}
        for stated, expected in (
            ("MIT", [{"license": {"id": "MIT", **declared}}]),
            ("mit or BSD-2-Clause", [{"expression": "MIT OR BSD-2-Clause", **declared}]),
            ("As is", [{"license": {"name": "As is", **declared}}]),
            ("unstated", []),
        ):
            self.assertEqual(licence(stated), expected)
