"""The platform's own package, as a process in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any


class Package:
    """Calls the functions of `official.py`."""

    def __init__(self, python: Path) -> None:
        self._process = subprocess.Popen(
            (str(python), str(Path(__file__).with_name("official.py"))),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, name: str, *given: object) -> Any:
        """Call one of its functions, and return the result."""
        sent, received = self._process.stdin, self._process.stdout
        assert sent is not None and received is not None
        sent.write(json.dumps([name, *given]) + "\n")
        sent.flush()
        line = received.readline()
        assert line, "the package raised an exception; see the output"
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=30)
