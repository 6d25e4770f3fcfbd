"""Tests of the command line as a whole: invalid arguments, exit status and output errors."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import SkipTest

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from autopilot.cli import demo, entry, evidence, main
from autopilot.cli.console import CommandError
from tests.unit.cli.asked import CommandTestCase
from tests.unit.cli.commands import ROOT, Done, run, start


def said_by(*words: str) -> tuple[int | None, str, str]:
    """Return status, output and error of a command line that ends at its arguments."""
    output, heard = io.StringIO(), io.StringIO()
    status: int | None
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(heard):
        try:
            status = main(words)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else None
    return status, output.getvalue(), heard.getvalue()


class UsageTests(SynchronousTestCase):
    """Unknown commands, and invalid arguments."""

    def test_unknown_command(self) -> None:
        """The error line suggests a similar command, or lists all."""
        for word, hint in (
            ("rnak", "did you mean rank?"),
            ("Explain", "did you mean explain?"),
            ("chekc", "did you mean check?"),
            ("xyz", "there are run, demo, workers, try, rank, explain, "),
            ("\x1b[31m", "there are run, "),
            ("x" * 10_000, "there are run, "),
        ):
            status, output, heard = said_by(word)
            self.assertEqual((status, output), (2, ""))
            self.assertRegex(heard, r"\Aautopilot: there is no command '[^\n]*\n\Z")
            self.assertIn(hint, heard)
            self.assertTrue(heard[:-1].isprintable() and len(heard) < 300)

    def test_arguments(self) -> None:
        """Missing, unknown and invalid arguments end with one printable line and status 2."""
        for words in (
            (),
            ("--nonsense",),
            ("rank", "--nonsense"),
            ("rank", "\x1b[31m"),
            ("rank", "--top", "0"),
            ("rank", "--top", "²"),
            ("rank", "--color", "pink"),
            ("check", "--timeout", "nan"),
            ("check", "--only", "nothing"),
            ("evidence",),
            ("completion", "tcsh"),
        ):
            status, output, heard = said_by(*words)
            self.assertEqual((status, output), (2, ""), words)
            self.assertRegex(heard, r"\Aautopilot: [^\n]+\n\Z")
            self.assertTrue(heard[:-1].isprintable(), heard)
            self.assertIn("--help", heard)

    def test_help(self) -> None:
        """The help lists the sub-commands, and each one's help has its exit status and examples."""
        said = entry.parser().format_help()
        self.assertRegex(
            said,
            r"\ncommands:\n  start\n    run .*\n    demo .*\n    workers .*\n  ask\n    try .*\n",
        )
        self.assertRegex(said, r"\n  inspect\n    check ")
        for command in (demo, *entry.SUB_COMMANDS):
            self.assertRegex(said, rf"\n    {command.NAME}\s")
            self.assertIn("Exit status: 0", command.__doc__ or "")
            status, own, heard = said_by(command.NAME, "--help")
            self.assertEqual((status, heard), (0, ""))
            self.assertRegex(own, rf"\nexamples:\n  autopilot {command.NAME}\b")
        self.assertEqual(said_by("--version")[0], 0)

    def test_examples(self) -> None:
        """The parser accepts every example."""
        for command in (demo, *entry.SUB_COMMANDS):
            for line in getattr(command, "EXAMPLES", "").splitlines():
                line = line.partition("autopilot ")[2].partition(" | ")[0].partition(" > ")[0]
                words = line.partition("   ")[0].replace("'X-TEE-Only: true'", "A:b").split()
                self.assertEqual(entry.parser().parse_args(words).command, command)


class EndTests(CommandTestCase):
    """The report of a failure."""

    def explained(self, error: BaseException) -> tuple[int, str]:
        """Return the status and the error line of a failure."""
        heard = io.StringIO()
        with contextlib.redirect_stderr(heard):
            return entry._report_failure(Failure(error)), heard.getvalue()

    def test_mistake(self) -> None:
        """An internal error is one line with its type, without text or traceback."""
        self.patch(evidence, "run", _mistaken)
        failure = self.failureResultOf(
            Deferred.fromCoroutine(evidence.run(None, argparse.Namespace()))
        )
        status, heard = self.explained(failure.value)
        self.assertEqual((status, heard), (2, "autopilot: internal error: ZeroDivisionError\n"))

    def test_complaint(self) -> None:
        """An error is one printable line, whatever characters it contains."""
        self.assertEqual(
            self.explained(CommandError("a\x1b[31m\nb")), (2, "autopilot: a\\x1b[31m\\nb\n")
        )

    def test_interrupt(self) -> None:
        """An interrupt ends a read from standard input."""
        self.assertEqual(self.explained(KeyboardInterrupt()), (130, ""))
        self.patch(entry, "run", _interrupted)
        self.assertEqual(said_by("rank"), (130, "", ""))


_UNHEARD = """
import gc, sys
from twisted.internet.defer import fail
from autopilot.cli import entry, evidence
async def run(reactor, given):
    fail(ValueError("secret"))
    gc.collect()
    print("went on")
    return 0
evidence.run = run
sys.exit(entry.run(["evidence", "acme/x"]))
"""


async def _mistaken(_reactor: object, _given: object) -> int:
    raise ZeroDivisionError("secret")


def _interrupted(_arguments: object) -> int:
    raise KeyboardInterrupt


class CompletionTests(CommandTestCase):
    """The completion scripts."""

    def script(self, shell: str) -> str:
        """Return the script for a shell, which must contain every command."""
        status, script = self.ask("completion", shell)
        self.assertEqual(status, 0)
        for command in (demo, *entry.SUB_COMMANDS):
            self.assertIn(command.NAME, script)
        self.assertIn("utilization", script)
        return script

    def test_bash(self) -> None:
        """Bash completes commands, options and choices with its script."""
        Path("it").write_text(self.script("bash"))
        for words, wanted in (
            (("ra",), "rank"),
            (("explain", "--bo"), "--body"),
            (("check", "--only", "net"), "network"),
        ):
            line = " ".join(("autopilot", *words))
            ask = (
                f"source ./it; COMP_WORDS=({line}); COMP_CWORD={len(words)}; "
                f'_shtab_autopilot autopilot {words[-1]} x; echo "${{COMPREPLY[*]}}"'
            )
            done = subprocess.run(
                ("bash", "--norc", "-c", ask),
                capture_output=True,
                text=True,
                check=True,
                env={"PATH": os.defpath},
            )
            self.assertEqual((done.stdout.strip(), done.stderr), (wanted, ""))

    def test_others(self) -> None:
        """Each other installed shell accepts its script."""
        missing = []
        for shell in ("zsh", "fish"):
            Path("it").write_text(self.script(shell))
            program = shutil.which(shell, path=os.defpath)
            if program is None:
                missing.append(shell)
                continue
            done = subprocess.run((program, "-n", "it"), capture_output=True, text=True, env={})
            self.assertEqual((done.returncode, done.stderr), (0, ""))
        if missing:
            raise SkipTest(f"not installed here: {', '.join(missing)}; their scripts were not read")


class ProcessTests(SynchronousTestCase):
    """Real processes with pipes, interrupts and another encoding."""

    def setUp(self) -> None:
        """Save feeds with a model whose name is not ASCII."""
        self.folder = self.mktemp()
        os.makedirs(self.folder)
        model = {"id": "acme/模型"}
        load = {"name": "acme/模型", "active_instance_count": 1}
        Path(self.folder, "m").write_text(json.dumps({"data": [model]}))
        Path(self.folder, "u").write_text(json.dumps([load]))
        self.rank = ("rank", "--models", "m", "--utilization", "u")

    def test_ends(self) -> None:
        """A closed pipe, an interrupt during input, and unencodable characters end cleanly."""
        ascii_only = start(self.folder, *self.rank, PYTHONIOENCODING="ascii")
        pipe = os.path.join(self.folder, "pipe")
        os.mkfifo(pipe)
        waiting = start(self.folder, "rank", "--models", "pipe")
        leaving = start(self.folder, *self.rank)
        assert leaving.stdout is not None and leaving.stderr is not None
        leaving.stdout.close()
        self.assertEqual((leaving.wait(60), leaving.stderr.read()), (141, ""))
        leaving.stderr.close()
        done = Done(ascii_only)
        self.assertEqual((done.status, done.complaint), (0, ""))
        self.assertIn("acme/\\u6a21\\u578b", done.output)
        writer = self.opened(pipe, waiting)
        self.addCleanup(os.close, writer)
        self.sleeps(waiting)
        waiting.send_signal(signal.SIGINT)
        interrupted = Done(waiting)
        self.assertEqual((interrupted.status, interrupted.output), (130, ""))
        self.assertEqual(interrupted.complaint, "")

    def test_output(self) -> None:
        """A full output gives one error line, a closed one none."""
        command = f"exec {sys.executable} -m autopilot {' '.join(self.rank)}"
        full = "autopilot: the output could not be written: No space left on device\n"
        for redirection, status, wanted in ((">/dev/full", 2, full), (">&-", 0, "")):
            done = subprocess.run(
                ("sh", "-c", f"{command} {redirection}"),
                cwd=self.folder,
                env={"PATH": os.defpath, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
            )
            self.assertEqual((done.returncode, done.stderr), (status, wanted))

    def test_unheard_failures(self) -> None:
        """A failure that only Twisted's log hears of prints no traceback."""
        done = subprocess.run(
            (sys.executable, "-c", _UNHEARD),
            cwd=self.folder,
            env={"PATH": os.defpath, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "went on\n", ""))

    def opened(self, pipe: str, reader: subprocess.Popen[str]) -> int:
        """Return the FIFO's writing end, once a process has opened the reading end."""
        while True:
            try:
                return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                self.assertIsNone(reader.poll())
                time.sleep(0.01)

    def sleeps(self, reader: subprocess.Popen[str]) -> None:
        """Wait until the process is blocked in its read.

        Python notes a signal that arrives between open(2) and read(2), and raises only after the
        read, which would never end. Opening the other end has woken the process, so the next state
        in which it sleeps is the read.
        """
        stat = Path(f"/proc/{reader.pid}/stat")
        while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "S":
            self.assertIsNone(reader.poll())
            time.sleep(0.01)

    def test_nobody_there(self) -> None:
        """An unreachable router gives one line and status 2."""
        done = run(self.folder, "explain", "acme/x", "--router", "http://127.0.0.1:1")
        self.assertEqual((done.status, done.output), (2, ""))
        wanted = (
            "autopilot: the router's /status.json could not be read: connection refused; --router"
            " takes the address of its /status page (ADMIN_LISTEN_ADDR)\n"
        )
        self.assertEqual(done.complaint, wanted)
