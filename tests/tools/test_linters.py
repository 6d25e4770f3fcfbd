"""`make lint-files` reads every file of its kinds, and each of its tools can say no."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tools.hygiene.scan import GITLEAKS, ROOT, is_repository

_WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
_BAD_WORKFLOW = """\
on: pull_request_target
jobs:
  a:
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/checkout@v5
      - run: echo ${{ github.event.pull_request.title }}
"""


class ToolTests(SynchronousTestCase):
    """A mistake for each tool."""

    def refuses(self, expected: str, *command: str, text: str, name: str) -> None:
        """Expect a tool to find fault with a file."""
        tool = GITLEAKS.with_name(command[0])
        if not tool.exists():
            raise SkipTest(f"{command[0]} is not installed: make venv installs it")
        path = Path(self.mktemp()).absolute() / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
        done = subprocess.run(
            [str(tool), *command[1:], str(path)], capture_output=True, text=True, check=False
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(expected, done.stdout + done.stderr)

    def test_dockerfile(self) -> None:
        """An image of no particular version."""
        self.refuses("DL3006", "hadolint", text="FROM debian\n", name="Dockerfile")

    def test_script(self) -> None:
        """A word that splits."""
        self.refuses("SC2086", "shellcheck", text="#!/bin/sh\nrm $1\n", name="a.sh")

    def test_workflow_schema(self) -> None:
        """A job without a machine."""
        command = ("check-jsonschema", "--builtin-schema", "vendor.github-workflows")
        self.refuses("runs-on", *command, text="on: push\njobs: {a: {steps: []}}\n", name="a.yml")

    def test_workflow(self) -> None:
        """A stranger's text in a command, with the repository's rights."""
        command = ("zizmor", "--offline", "--no-progress")
        name = ".github/workflows/a.yml"
        self.refuses("template-injection", *command, text=_BAD_WORKFLOW, name=name)


class CoverageTests(SynchronousTestCase):
    """What is looked at, and what the workflow names."""

    def test_scripts(self) -> None:
        """Every shell script of the project is among those that are checked."""
        if not is_repository(ROOT):
            raise SkipTest("no git repository: there is no list of the project's files")
        listed = subprocess.run(
            ["git", "grep", "--name-only", "-E", "^#!.*[/ ](ba)?sh$"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        scripts = {each for each in listed if _first_line(each).startswith("#!")}
        self.assertIn("deploy/image/build.sh", scripts)
        self.assertLessEqual(scripts, set(_made("lint-files").split()))

    def test_targets(self) -> None:
        """Each `make` of the workflow is a target, and each file it runs is there."""
        commands = re.findall(r"run: (?:sudo )?make (.+)", _WORKFLOW.read_text())
        words = {word for command in commands for word in command.split() if "=" not in word}
        known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        self.assertIn("lint", words)
        self.assertLessEqual(words, known)
        self.assertIn("run: bash .ci/run", _WORKFLOW.read_text())

    def test_pins(self) -> None:
        """Each action is a commit, with its version beside it."""
        for line in re.findall(r"uses: (.+)", _WORKFLOW.read_text()):
            self.assertRegex(line, r"^[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")

    def test_services(self) -> None:
        """The service and the address of the image job are those of the compose file."""
        compose = (ROOT / "docker-compose.yaml").read_text()
        self.assertIn("\n  demo:\n", compose)
        self.assertIn("${AUTOPILOT_DEMO_PORT:-8082}:8080", compose)
        self.assertIn("http://127.0.0.1:8082/v1/", _WORKFLOW.read_text())


def _first_line(name: str) -> str:
    return (ROOT / name).read_text().partition("\n")[0]


def _made(target: str) -> str:
    return subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
