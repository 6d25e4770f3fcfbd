"""The load generator: `python -m benchmarks.load` reads one JSON job and writes JSON lines.

`{"phase": "steady"}` when all is up and warm and the measured window begins, and
`{"phase": "done", "result": {...}}` when it ends. Each is written at that instant, so that whoever
reads them can measure the processes in between; connections are closed after the last.
"""

from __future__ import annotations

import json
import sys
from typing import TextIO

from benchmarks.job import SILENT, STREAM, Job
from benchmarks.load_requests import RequestLoad
from benchmarks.load_streams import StreamLoad
from benchmarks.poller import prepare_process


def run(text: str, output: TextIO) -> None:
    """Run the job that `text` describes."""

    def say(phase: str, **more: object) -> None:
        output.write(json.dumps({"phase": phase, **more}) + "\n")
        output.flush()

    job = Job(**json.loads(text))
    kind = StreamLoad if job.kind in (STREAM, SILENT) else RequestLoad
    driver = kind(job, say)
    say("done", result=driver.run())
    driver.close()


def main() -> None:
    """Run the job on standard input."""
    prepare_process()
    run(sys.stdin.readline(), sys.stdout)


if __name__ == "__main__":
    main()
