"""What ``make help`` shows: every target, in one of three groups."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib

from twisted.trial.unittest import SynchronousTestCase

from tests.process.processes import ROOT

_GROUPS = {"Use:": "USE", "Develop:": "DEVELOP", "Release:": "RELEASE"}


class HelpTests(SynchronousTestCase):
    """The targets of the Makefile."""

    def setUp(self) -> None:
        """Read it, with continued lines joined."""
        self.text = (ROOT / "Makefile").read_text().replace("\\\n", " ")

    def group(self, name: str) -> list[str]:
        """Return the targets of a group."""
        found = re.search(rf"^{name} := (.*)$", self.text, re.MULTILINE)
        assert found is not None, name
        return found[1].split()

    def test_every_target(self) -> None:
        """Each target that makes no file is in one group, and has a text."""
        phony = " ".join(re.findall(r"^\.PHONY: (.*)$", self.text, re.MULTILINE)).split()
        grouped = [each for name in _GROUPS.values() for each in self.group(name)]
        self.assertEqual(sorted(grouped), sorted(phony))
        for each in grouped:
            self.assertRegex(self.text, rf"(?m)^{each}:.* ## \S")

    def test_versions(self) -> None:
        """The wheel claims the lowest Python, on which CI runs, and those of `make pythons`."""
        found = re.search(r"^VERSIONS \?= (.*)$", self.text, re.MULTILINE)
        assert found is not None
        further = found[1].split()
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        lowest = project["requires-python"].removeprefix(">=")
        claimed = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
        self.assertEqual(claimed, [lowest, *further])
        workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
        (matrix,) = re.findall(r"^ +python: (\[.*\])$", workflow, re.MULTILINE)
        self.assertEqual(json.loads(matrix), further)
        self.assertIn(f"Everything, on Python {lowest}", workflow)

    def test_help(self) -> None:
        """It prints the groups, and a line for each target, which fits a wide terminal."""
        done = subprocess.run(
            ("make", "--silent", "help"), cwd=ROOT, capture_output=True, text=True, check=True
        )
        printed: dict[str, list[str]] = {}
        for line in done.stdout.splitlines():
            self.assertLessEqual(len(line), 140, line)
            if line in _GROUPS:
                printed[line] = []
            else:
                found = re.fullmatch(r"  (\S+) +\S.*", line)
                assert found is not None, line
                printed[[*printed][-1]].append(found[1])
        self.assertEqual(printed, {title: self.group(name) for title, name in _GROUPS.items()})
        self.assertEqual(done.stderr, "")
