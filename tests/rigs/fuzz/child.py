"""Runs one target under atheris, in a process of its own.

`python -m tests.rigs.fuzz.child NAME [options]` passes the options to libFuzzer. Atheris
instruments the router's modules as they are imported, so none may have been imported earlier; the
target is therefore looked up only here.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def main() -> None:
    """Fuzz until a limit of libFuzzer is reached, then exit the process."""
    # atheris has wheels for few platforms; mypy and the tests do without it.
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["autopilot"], enable_loader_override=False):
        targets = import_module("tests.rigs.fuzz.targets").TARGETS
    target = targets[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target.oracle())
    atheris.Fuzz()


if __name__ == "__main__":
    main()
