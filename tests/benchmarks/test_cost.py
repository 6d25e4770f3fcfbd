"""Tests of the cost measurement: arithmetic, output of tools, comparison, file and report."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.cost import report, system_calls, valgrind
from benchmarks.cost.calls import readable
from benchmarks.cost.command import main
from benchmarks.cost.comparison import Row, Verdict, compare, failures
from benchmarks.cost.counting import why_not
from benchmarks.cost.interpreter import COMPARABLE, Interpreter, describe
from benchmarks.cost.launcher import MARK_BYTES, CallCounter
from benchmarks.cost.limits import Limits, LimitsError, load, updated
from benchmarks.cost.scenarios import Scenario, scenarios
from benchmarks.cost.windows import difference, per_unit, totals, typical
from benchmarks.processes import PROJECT

IMAGE: Final = Interpreter(COMPARABLE, "3.11.2 (of an image)")
OTHER: Final = Interpreter(COMPARABLE, "3.11.2 (of a laptop)")
NEWER: Final = Interpreter("CPython 3.13", "3.13.0")

FILE: Final = """\
# Written by hand.

[target.unary]
python_calls = 100

[budget.unary]
python_calls = 125

# Recorded by `make cost ARGS=--update`, which replaces everything below.

[interpreter]
build = "3.11.2 (of an image)"

[recorded.unary-alias]
python_calls = 98
instructions = 300000
"""
ADDITION: Final = """
[[addition]]
issue = "Keys"
kind = "unary"
python_calls = {}
"""


def unary() -> Scenario:
    """Return the first scenario."""
    return scenarios()[0]


def row(metric: str, count: float, *, text: str = FILE, interpreter: Interpreter = IMAGE) -> Row:
    """Compare one count of a unary request."""
    measured = {unary().name: {metric: count}}
    (found,) = compare([unary()], measured, Limits.parse(text), interpreter)
    return found


class WindowTests(SynchronousTestCase):
    """Arithmetic of windows."""

    def test_per_unit(self) -> None:
        """The fixed cost of a window cancels out; a name may be missing from one window."""
        few = {"calls": {"unit": 20, "mark": 7}}
        many = {"calls": {"unit": 120, "mark": 7, "rare": 50}}
        cost = per_unit(few, many, 100)
        self.assertEqual(cost, {"calls": {"unit": 1, "mark": 0, "rare": 0.5}})
        self.assertEqual(totals(cost), {"calls": 1.5})

    def test_typical(self) -> None:
        """A timer that fires in one of three rounds does not count."""
        quiet = {"calls": {"unit": 1.0}}
        self.assertEqual(
            typical([quiet, {"calls": {"unit": 1.0, "timer": 0.3}}, quiet]),
            {"calls": {"unit": 1.0, "timer": 0}},
        )

    def test_difference(self) -> None:
        """The difference is taken name by name."""
        self.assertEqual(
            difference({"calls": {"a": 3, "b": 2}}, {"calls": {"a": 3, "c": 1}}),
            {"calls": {"c": -1, "a": 0, "b": 2}},
        )


class ToolTests(SynchronousTestCase):
    """Output of the tools."""

    def test_strace(self) -> None:
        """Marks divide the log; an interrupted call counts once."""
        log = [
            "7 execve(...) = 0",
            "7 --- SIGRT_6 {si_signo=SIGRT_6, si_code=SI_USER} ---",
            "7 recvfrom(9,  <unfinished ...>",
            "8 futex(0x1, FUTEX_WAKE) = 0",
            '7 <... recvfrom resumed>"x", 65536, 0, NULL, NULL) = 1',
            "7 epoll_wait(3, [], 64, -1) = 0",
            "7 --- SIGRT_6 {si_signo=SIGRT_6, si_code=SI_USER} ---",
            "7 sendto(9, ...) = 1",
        ]
        _start, window, end = system_calls.windows(log)
        self.assertEqual(
            totals(window),
            {"system_calls": 3, "receives": 1, "sends": 0, "waits": 1, "poll_changes": 0},
        )
        self.assertEqual(totals(end)["sends"], 1)

    def test_callgrind(self) -> None:
        """The reader takes the total of a dump, and rejects a dump without one."""
        self.assertEqual(valgrind.instructions("version: 1\nfn=(1)\n1 5\ntotals: 1234\n"), 1234)
        self.assertRaises(ValueError, valgrind.instructions, "")

    def test_functions(self) -> None:
        """A function counts what it did itself, not what it called, in whichever file."""
        dump = """version: 1
positions: line
summary: 18
ob=(1) /usr/bin/python3.11
fn=(1) eval
0 5
cob=(2) /lib/ssl.so
cfn=(2) SSL_read
calls=2 0
0 9
cfn=(3) eval'2
calls=1 0
0 3
0 1
fn=(3)
0 3
ob=(2)
fn=(2)
0 9

totals: 18
"""
        counts = valgrind.instructions_by_function(dump)
        self.assertEqual(counts, {("python3.11", "eval"): 9, ("ssl.so", "SSL_read"): 9})
        self.assertEqual(sum(counts.values()), valgrind.instructions(dump))

    def test_massif(self) -> None:
        """Every requested block counts; freed blocks are not retained."""
        log = [
            "==7== Massif, a heap profiler",
            "--7-- malloc(100) = 0xA1",
            f"--7-- calloc(1,{MARK_BYTES + 33}) = 0xB1",
            "--7-- free(0xB1)",
            "--7-- malloc(64) = 0xA2",
            "--7-- calloc(3,10) = 0xA3",
            "--7-- realloc(0xA3,40) = 0xA4",
            "--7-- realloc(0x0,8)malloc(8) = 0xA5",
            "--7-- free(0xA2)",
            "--7-- free(0xA1)",
            "--7-- free(0x0)",
        ]
        start, window = valgrind.allocations(log)
        self.assertEqual(totals(start)["allocated_bytes"], 100)
        mark = MARK_BYTES + 33
        self.assertEqual(
            totals(window),
            {
                "allocated_bytes": mark + 64 + 30 + 40 + 8,
                "allocations": 5,
                "retained_bytes": 40 + 8 - 100,
            },
        )

    def test_calls(self) -> None:
        """Paths are relative to the packages, wherever those are installed."""
        counts = {
            f"{PROJECT}/autopilot/tap.py:1 f": 1,
            f"{PROJECT}/.venv/lib/python3.11/site-packages/klein/app.py:5 k": 5,
            "/usr/lib/python3/dist-packages/twisted/web/http.py:2 g": 2,
            "/usr/lib/python3.11/enum.py:3 h": 3,
            "<string>:4 i": 4,
        }
        window = readable({"python": counts, "c": {"builtins.len": 5}})
        self.assertEqual(
            window["python_calls"],
            {
                "autopilot/tap.py:1 f": 1,
                "klein/app.py:5 k": 5,
                "twisted/web/http.py:2 g": 2,
                "enum.py:3 h": 3,
                "<string>:4 i": 4,
            },
        )
        self.assertEqual(window["c_calls"], {"builtins.len": 5})
        self.assertEqual(totals(readable({})), {"python_calls": 0, "c_calls": 0})

    def test_counter(self) -> None:
        """The counter counts calls, not returns, and starts again after each report."""
        counter = CallCounter()
        frame = sys._getframe()
        for event, argument in (("call", None), ("c_call", len), ("c_call", [].append)):
            counter.count(frame, event, argument)
            counter.count(frame, "return", None)
        taken = counter.take()
        (place,) = taken["python"]
        self.assertIn("test_cost.py", place)
        self.assertIn("ToolTests.test_counter", place)
        self.assertEqual(taken["c"], {"builtins.len": 1, "list.append": 1})
        self.assertEqual(counter.take(), {"python": {}, "c": {}})

    def test_missing(self) -> None:
        """A tool that is not installed or does not work is named with the reason."""
        self.assertIsNone(why_not("true"))
        self.assertEqual(why_not("no-such-tool"), "no-such-tool is not installed")
        self.assertEqual(
            why_not("sh", "-c", "echo ptrace: Operation not permitted >&2; exit 1"),
            "sh does not work: ptrace: Operation not permitted",
        )
        self.assertEqual(why_not("false"), "false does not work: status 1")

    def test_interpreter(self) -> None:
        """The description of an interpreter has its whole version."""
        found = describe(sys.executable)
        self.assertIn(sys.version.split()[0], found.build)
        self.assertEqual(found.comparable, found.version == COMPARABLE)


class ComparisonTests(SynchronousTestCase):
    """Counts and the file."""

    def test_growth(self) -> None:
        """A count may exceed the file by half a call; a smaller count does not fail."""
        self.assertIs(row("python_calls", 98.5).verdict, Verdict.SAME)
        self.assertIs(row("python_calls", 98.6).verdict, Verdict.GREW)
        self.assertIs(row("python_calls", 97).verdict, Verdict.FELL)
        self.assertIs(row("c_calls", 1).verdict, Verdict.NEW)
        rows = [row("python_calls", count) for count in (97, 98, 99)]
        self.assertEqual(failures(rows), rows[2:])

    def test_instructions(self) -> None:
        """Instructions may differ by 2 %, and are compared on the interpreter of the file only."""
        self.assertIs(row("instructions", 306_000).verdict, Verdict.SAME)
        self.assertIs(row("instructions", 306_001).verdict, Verdict.GREW)
        other = row("instructions", 400_000, interpreter=OTHER)
        self.assertIs(other.verdict, Verdict.OTHER_BUILD)
        self.assertEqual(failures([other]), [])

    def test_versions(self) -> None:
        """Calls of another version are compared neither with the file nor with a target."""
        newer = row("python_calls", 400, interpreter=NEWER)
        self.assertIs(newer.verdict, Verdict.OTHER_VERSION)
        self.assertIsNone(newer.target)
        self.assertIs(row("python_calls", 98, interpreter=OTHER).verdict, Verdict.SAME)

    def test_targets(self) -> None:
        """Additions raise the target of their kind, up to the budget."""
        self.assertFalse(row("python_calls", 100).misses_target)
        self.assertTrue(row("python_calls", 101).misses_target)
        self.assertFalse(row("python_calls", 101, text=FILE + ADDITION.format(3)).misses_target)
        for wrong in (ADDITION.format(26), ADDITION.format(1).replace("Keys", ""), "[["):
            self.assertRaises(LimitsError, Limits.parse, FILE + wrong)


class UpdateTests(SynchronousTestCase):
    """The file as `--update` rewrites it."""

    def test_measured(self) -> None:
        """Measured counts replace recorded ones; other counts and the text above stay."""
        text = updated(FILE, {"unary-alias": {"python_calls": 90.04}, "chunk": {"waits": 1}}, OTHER)
        self.assertTrue(text.startswith(FILE.partition("[interpreter]")[0]))
        limits = Limits.parse(text)
        self.assertEqual(limits.build, IMAGE.build)
        self.assertEqual(
            limits.recorded,
            {"unary-alias": {"python_calls": 90, "instructions": 300_000}, "chunk": {"waits": 1}},
        )
        self.assertEqual(updated(text, {}, IMAGE), text)

    def test_other_interpreter(self) -> None:
        """Instructions of the previous interpreter are dropped."""
        limits = Limits.parse(updated(FILE, {"chunk": {"instructions": 5000.4}}, OTHER))
        self.assertEqual(limits.build, OTHER.build)
        self.assertEqual(
            limits.recorded, {"unary-alias": {"python_calls": 98}, "chunk": {"instructions": 5000}}
        )


class ReportTests(SynchronousTestCase):
    """Table, summary and breakdown."""

    def test_table(self) -> None:
        """Each count has a line with its verdict."""
        _heading, line = report.table([row("python_calls", 101.25)])
        self.assertRegex(line, r"^unary-alias +python calls +101\.2 +98 +100 +grew, over target$")

    def test_not_counted(self) -> None:
        """The summary names what was not counted or compared, and does not call it passed."""
        other = row("instructions", 1, interpreter=OTHER)
        lines = list(report.summary([other], {"system-calls": "strace is not installed"}))
        self.assertIn("not counted: system-calls: strace is not installed", lines)
        self.assertIn("not compared: other interpreter: instructions", lines)
        self.assertEqual(lines[-1], "nothing was compared")

    def test_summary(self) -> None:
        """The last line is the verdict, and how to record new counts."""
        same = row("python_calls", 98)
        for verdict, expected in (
            (Verdict.SAME, "no compared count grew"),
            (Verdict.FELL, "no count grew, some fell; run `make cost ARGS=--update`"),
            (Verdict.GREW, "1 counts grew or are not in the file"),
        ):
            *_, last = report.summary([replace(same, verdict=verdict)], {})
            self.assertIn(expected, last)

    def test_breakdown(self) -> None:
        """The most frequent functions come first; rare ones are left out."""
        cost = {"python_calls": {"rare": 0.01, "once": 1, "twice": 2}}
        self.assertEqual(
            list(report.breakdown(cost)),
            ["python calls: 3", "        2  twice", "        1  once", ""],
        )


class CommandTests(SynchronousTestCase):
    """The command line and the file of the project."""

    def test_unknown(self) -> None:
        """The command refuses unknown names before it starts anything."""
        for words in (["--by-function", "nonsense"], ["--count", "calls,nonsense"]):
            self.assertRaises(SystemExit, main, words)

    def test_file(self) -> None:
        """The file of the project is valid and records the calls of every scenario."""
        limits = load()
        for scenario in scenarios():
            self.assertIn("python_calls", limits.recorded.get(scenario.name, {}), scenario.name)
        self.assertEqual(limits.target("chunk", "poll_changes"), 0)
