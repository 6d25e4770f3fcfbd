"""One target under atheris, in a process of its own.

`python -m tests.rigs.fuzz.child NAME [options]` runs it.

The options are libFuzzer's. The router is instrumented as it is imported, so nothing of it may have
been imported before; that is why the target is looked up only here.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def main() -> None:
    """Fuzz until told to stop; the process ends here."""
    # It has wheels for few platforms: mypy and the tests go without.
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["autopilot"], enable_loader_override=False):
        targets = import_module("tests.rigs.fuzz.targets").TARGETS
    target = targets[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
