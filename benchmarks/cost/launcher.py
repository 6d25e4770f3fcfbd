"""Launcher of the measured router: runs twistd in a process that a signal tells to mark.

`python -m benchmarks.cost.launcher PIPE COUNT ARGUMENTS` runs `twistd ARGUMENTS`. Each signal
`MARK` ends one window of measurement and begins the next. The process then writes one line of JSON
to PIPE: its process id at the start, and at each mark the calls of the window that ended (none
unless COUNT is `calls`).

Tools around the process see a mark, too: strace logs the signal, callgrind the call of
`getloadavg`, massif the allocation of `MARK_BYTES`. The router itself does none of these.

The process imports this module before Twisted, so it needs the standard library only.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from types import CodeType, FrameType
from typing import Any, Final, TextIO

MARK: Final = signal.SIGRTMIN + 4
MARK_BYTES: Final = 7_654_321
COUNT_CALLS: Final = "calls"
COUNT_NOTHING: Final = "nothing"


class CallCounter:
    """Counts of calls in one thread: of Python functions by code object, of C functions by name.

    The interpreter profiles neither the callback of a profiler nor what the callback calls. A
    generator that resumes counts as a call, and so does a comprehension (CPython 3.11).
    """

    def __init__(self) -> None:
        self.python: Counter[CodeType] = Counter()
        self.native: Counter[tuple[str | None, str]] = Counter()

    def count(self, frame: FrameType, event: str, argument: Any) -> None:
        """Count an event of `sys.setprofile`."""
        if event == "call":
            self.python[frame.f_code] += 1
        elif event == "c_call":
            self.native[argument.__module__, argument.__qualname__] += 1

    def take(self) -> dict[str, dict[str, int]]:
        """Return the counts by name and start again from zero."""
        python: Counter[str] = Counter()
        for code, calls in self.python.items():
            python[f"{code.co_filename}:{code.co_firstlineno} {code.co_qualname}"] += calls
        native = {
            f"{module}.{name}" if module else name: calls
            for (module, name), calls in self.native.items()
        }
        self.python.clear()
        self.native.clear()
        return {"python": python, "c": native}


class Marker:
    """The handler of the signal."""

    def __init__(self, pipe: TextIO, counter: CallCounter | None) -> None:
        self._pipe = pipe
        self._counter = counter

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """End a window and begin the next."""
        sys.setprofile(None)
        os.getloadavg()
        bytes(MARK_BYTES)
        self.tell(self._counter.take() if self._counter else {})
        # How often the machine let a turn take long is no property of the code; under valgrind on a
        # busy machine nearly every turn would be reported.
        vars(sys.modules["twisted.internet.reactor"]).update(report_hold=None)
        if self._counter:
            sys.setprofile(self._counter.count)

    def tell(self, value: object) -> None:
        """Write a line to the measuring process."""
        self._pipe.write(json.dumps(value) + "\n")
        self._pipe.flush()


def main() -> None:
    """Run twistd with marks."""
    path, count, *arguments = sys.argv[1:]
    pipe = open(path, "w")  # noqa: SIM115  open until the process ends
    marker = Marker(pipe, CallCounter() if count == COUNT_CALLS else None)
    signal.signal(MARK, marker.handle)
    marker.tell({"pid": os.getpid()})
    sys.argv = ["twistd", *arguments]
    from twisted.scripts.twistd import run

    run()


if __name__ == "__main__":
    main()
