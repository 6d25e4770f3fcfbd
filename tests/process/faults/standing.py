"""An upstream in a process of its own, which a test can stop and continue."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from time import sleep

from tests.process.faults.cases import SECOND
from tests.process.faults.upstreams import Upstream, says
from tests.process.processes import ROOT, until
from tests.unit.relay.upstreams import whole

_START = "from tests.process.faults.standing import serve; serve()"


class SeparateUpstream:
    """An upstream whose two models respond at once, while ``process`` runs."""

    def __init__(self, folder: str) -> None:
        Path(folder).mkdir()
        told = Path(folder, "port")
        with told.open("wb") as output:
            self.process = subprocess.Popen((sys.executable, "-c", _START), cwd=ROOT, stdout=output)
        until(lambda: told.read_text().endswith("\n"))
        self.port = int(told.read_text())

    def close(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.wait()


def serve() -> None:
    """Run the upstream: print its port, then respond."""
    answers = says(whole(200, SECOND))
    print(Upstream(one=answers, two=answers).port, flush=True)
    while True:
        sleep(60)
