"""Every module of `autopilot/` has its test file here, or a reason for having none."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.unit.untested import REASONS

_HERE = Path(__file__).parent
_CODE = _HERE.parents[1] / "autopilot"


def has_tests(module: Path) -> bool:
    """Return whether a test file is named after the module, with an aspect of it or without."""
    folder, name = _HERE / module.parent, module.stem.strip("_")
    return any(
        each.stem == f"test_{name}" or each.stem.startswith(f"test_{name}_")
        for each in folder.glob("test_*.py")
    )


class MirrorTests(SynchronousTestCase):
    """The modules, the test files, and the list of exceptions."""

    def setUp(self) -> None:
        """Find the modules."""
        found = (each.relative_to(_CODE) for each in _CODE.rglob("*.py"))
        self.modules = {str(each): each for each in found if each.stem != "__init__"}

    def test_every_module(self) -> None:
        """A module has a test file, or stands in the list; not both."""
        without = {name for name, path in self.modules.items() if not has_tests(path)}
        self.assertEqual(without - set(REASONS), set(), "no test file and no reason")
        self.assertEqual(set(REASONS) - without, set(), "listed, and yet tested or gone")

    def test_reasons(self) -> None:
        """Each reason is a line."""
        for name, reason in REASONS.items():
            self.assertRegex(reason, r"\A\S.{9,}\Z", name)

    def test_every_folder(self) -> None:
        """The folders of the tests are those of the code."""
        folders = {each.parent.relative_to(_HERE) for each in _HERE.rglob("test_*.py")}
        self.assertEqual({each for each in folders if not (_CODE / each).is_dir()}, set())
