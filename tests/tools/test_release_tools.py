"""What towncrier and the validator of CycloneDX make of ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from autopilot import __version__
from tools.locks import ROOT, SBOM

_TOOLS = Path(sys.executable).parent
_VALIDATE = """
import json, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
validate = JsonStrictValidator(SchemaVersion.V1_6).validate_str
json.dump([repr(validate(each))[:500] for each in json.load(sys.stdin)], sys.stdout)
"""


class ToolTestCase(SynchronousTestCase):
    """Runs a tool in a folder of its own."""

    def setUp(self) -> None:
        """See whether they are there."""
        if not (_TOOLS / "towncrier").exists():
            raise unittest.SkipTest("towncrier is not installed here: `make venv` does it")
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir(parents=True)

    def tool(self, name: str, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command of the environment, before whose package that of the folder comes."""
        command = (str(_TOOLS / name), *arguments)
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )


class NewsTests(ToolTestCase):
    """A release's changelog, made in a copy."""

    def release(self, day: str) -> str:
        """Move the fragments into the changelog, and give it."""
        made = self.tool("towncrier", "build", "--yes", "--date", day)
        self.assertEqual(made.returncode, 0, made.stdout + made.stderr)
        return (self.folder / "CHANGELOG.md").read_text("utf-8")

    def test_releases(self) -> None:
        """All that was said comes under the package's version, and the next release above it."""
        for each in (
            "pyproject.toml",
            "CHANGELOG.md",
            "autopilot/__init__.py",
            "autopilot/_version.py",
        ):
            (self.folder / each).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / each, self.folder / each)
        fragments = self.folder / "changelog.d"
        shutil.copytree(ROOT / "changelog.d", fragments)
        (fragments / "+planted.security.md").write_text("It was planted.\n")
        said = [each.read_text("utf-8") for each in fragments.glob("+*.md")]
        first = self.release("2026-01-02")
        self.assertTrue(first.startswith("# Changes\n"))
        self.assertEqual(first.count(f"## {__version__} (2026-01-02)\n"), 1)
        words = " ".join(first.split())
        for each in said:
            self.assertIn(" ".join(each.split()), words)
        self.assertEqual([each.name for each in fragments.iterdir()], ["README.md"])

        package = self.folder / "autopilot/_version.py"
        package.write_text(package.read_text("utf-8").replace(__version__, "99.0.0"))
        (fragments / "+more.fix.md").write_text("It is mended.\n")
        second = self.release("2027-03-04")
        head, _, rest = second.partition("## 99.0.0 (2027-03-04)\n")
        self.assertTrue(first.startswith(head))
        self.assertIn("- It is mended.\n", rest.partition(f"## {__version__}")[0])
        self.assertTrue(rest.endswith(first.removeprefix(head)))


class SchemaTests(ToolTestCase):
    """The bill of materials, against the schema of CycloneDX that the validator brings."""

    def test_the_committed_one(self) -> None:
        """It is one; changed a little it is none."""
        written = (ROOT / SBOM).read_text("utf-8")
        changes = (("SHA-256", "SHA-257"), ("MIT-0", "MIT-00"), ('"purl"', '"purrl"'))
        twice = json.loads(written)
        twice["components"].append(twice["components"][0])
        wrong = [*(written.replace(*each) for each in changes), json.dumps(twice)]
        checked = self.tool("python", "-c", _VALIDATE, given=json.dumps([written, *wrong]))
        self.assertEqual(checked.returncode, 0, checked.stderr)
        good, *bad = json.loads(checked.stdout)
        self.assertEqual(good, "None")
        for each in bad:
            self.assertIn("ValidationError", each)
        self.assertEqual(len(bad), len(wrong))
