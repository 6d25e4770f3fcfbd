"""The entry point of the demo's processes: runs a module, and ends once its parent has ended.

`python -m stub_backend.demo.child MODULE ARGUMENT…` does what `python -m MODULE ARGUMENT…` does.
Its standard input is a pipe that the parent holds open and never writes to. The pipe ends when the
parent does, however that ends, so that no process survives the demo.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import time
from threading import Thread

# Seconds between the request to terminate and the kill.
_GRACE = 3.0


def _follow(pipe: int) -> None:
    """Read until the pipe ends, and then end this process."""
    while os.read(pipe, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Watch the parent, and run the module that the arguments name."""
    Thread(target=_follow, args=(os.dup(0),), daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
