"""The command as a process, against the stub as another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.live.admission import HARD_CAP
from tests.rigs.live.fixtures import FAKE, leaks
from tests.rigs.live.table import CHECKS, chosen
from tests.rigs.smoke.processes import ROOT, StubProcess
from tests.rigs.smoke.waiting import until

_PATIENCE = 120.0


def command(*arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command with nothing but the paths of this process's environment."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        (sys.executable, "-m", "tests.rigs.live", *arguments),
        env={**kept, "PYTHONPATH": str(ROOT), **variables},
        cwd=ROOT,
        capture_output=True,
        timeout=_PATIENCE,
        check=False,
    )


class AgainstTheStandInTests(SynchronousTestCase):
    """The stub, used as the platform, does not differ from itself."""

    def setUp(self) -> None:
        """Start a platform."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.stub = StubProcess("stub", self.folder, ("--require-auth", "--token-delay-ms", "0"))
        self.stub.start()
        self.addCleanup(self.stub.kill)
        self.logs = self.folder / "logs"

    def live(self, *arguments: str) -> str:
        """Run the checks with the fake key; return the output."""
        base = f"http://127.0.0.1:{self.stub.port}"
        given = ("--base-url", base, "--pace", "0", "--logs", str(self.logs), *arguments)
        ended = command(*given, CHUTES_API_KEY=FAKE)
        self.assertEqual((ended.returncode, ended.stderr), (0, b""), ended)
        self.assertEqual(leaks(ended.stdout), [])
        return ended.stdout.decode()

    def assert_no_delta(self, *wanted: str) -> None:
        """Assert that every check ran and that none found a difference."""
        report = json.loads((self.logs / "report.json").read_text())
        outcomes = {each["check"]: each["outcome"] for each in report["checks"]}
        self.assertEqual(outcomes, dict.fromkeys(wanted, "as known"))
        self.assertEqual([each["deltas"] for each in report["checks"] if each["deltas"]], [])
        self.assertEqual(report["calls"], len(wanted))
        self.assertIn("## Proposed changes to the matrix\n\nNone.", self.markdown())
        for each in wanted:
            self.assertTrue((self.logs / f"{each}.json").exists(), each)
        for path in self.logs.iterdir():
            self.assertEqual(leaks(path.read_bytes()), [], path.name)

    def markdown(self) -> str:
        """Return the report for people."""
        return (self.logs / "report.md").read_text()

    def test_the_usual_checks(self) -> None:
        """The usual checks all run, within the cap; the platform counts the same calls."""
        wanted = [each.id for each in chosen(())]
        self.live()
        self.assert_no_delta(*wanted)
        self.assertLessEqual(len(wanted), HARD_CAP)
        self.assertEqual(len(self.stub_log()), len(wanted))

    def test_the_checks_on_request(self) -> None:
        """Checks that cost more or reveal less run only when named."""
        wanted = [each.id for each in CHECKS if each.on_request]
        self.live(*(word for each in wanted for word in ("--only", each)))
        self.assert_no_delta("catalog", "feed", *wanted)

    def stub_log(self) -> list[object]:
        """Return the platform's log of requests."""
        from tests.rigs.smoke.client import fetch_json

        asked: list[object] = fetch_json(self.stub.port, "/stub/log")["requests"]
        return asked

    def test_what_the_platform_gets(self) -> None:
        """The platform receives small completions only, with the key in one header."""
        self.live("--only", "chat-plain-vllm", "--only", "relay-plain", "--only", "anonymous")
        until("the log is complete", lambda: len(self.stub_log()) >= 5)
        for asked in self.stub_log():
            assert isinstance(asked, dict)
            fields = [(n.lower(), v) for n, v in asked["headers"]]
            with_key = [name for name, value in fields if any(p in value for p in FAKE.split("."))]
            keyed = asked["method"] == "POST" and asked["number"] < 5
            self.assertEqual(with_key, ["authorization"] if keyed else [], asked["path"])
            self.assertEqual(leaks((asked["path"] + asked["body"]).encode()), [])
            if asked["method"] == "POST":
                self.assertLessEqual(json.loads(asked["body"])["max_tokens"], 8)


class WithoutAKeyTests(SynchronousTestCase):
    """The command without a key, which prints its plan and exits."""

    def dry(self, *arguments: str, **variables: str) -> str:
        """Return the output; a process that touches the network would fail."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(_NO_NETWORK)
        variables["PYTHONPATH"] = f"{folder}{os.pathsep}{ROOT}"
        logs = folder / "logs"
        ended = command(*arguments, "--logs", str(logs), **variables)
        self.assertEqual((ended.returncode, ended.stderr), (0, b""), ended)
        self.assertFalse(logs.exists())
        return ended.stdout.decode()

    def test_the_plan(self) -> None:
        """The plan lists each check with its cost, the number of calls, and the time."""
        told = self.dry()
        usual = chosen(())
        for each in usual:
            self.assertRegex(told, rf"(?m)^{each.id} +1  {each.cost}: ")
        self.assertRegex(
            told, rf"(?m)^{len(usual)} calls, one at a time and 2 s apart: about \d+ s"
        )
        self.assertIn("CHUTES_API_KEY is not set: nothing was sent", told)

    def test_dry_run(self) -> None:
        """The plan with a key is the same, and does not contain the key."""
        told = self.dry("--dry-run", "--only", "context", CHUTES_API_KEY=FAKE)
        self.assertIn("3 calls", told)
        self.assertEqual(leaks(told.encode()), [])

    def test_that_the_network_would_be_noticed(self) -> None:
        """The detection of network access in the two tests above works."""
        with self.assertRaises(AssertionError) as caught:
            self.dry("--only", "catalog", CHUTES_API_KEY=FAKE)
        self.assertIn("no network", str(caught.exception))


_NO_NETWORK = """
import os
import socket

def refuse(*given, **more):
    os.write(2, b"no network here")
    os._exit(9)

class Refusing(socket.socket):
    def __init__(self, family=-1, *rest, **more):
        if family in (socket.AF_INET, socket.AF_INET6):
            refuse()
        super().__init__(family, *rest, **more)

socket.socket = Refusing
socket.getaddrinfo = refuse
"""
