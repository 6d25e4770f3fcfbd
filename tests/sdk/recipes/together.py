"""Runs programs one after the other in one interpreter: their imports take longer than they do.

Standard input is a JSON list of paths and keys; standard output one of exit statuses and of what
was printed. This runs where the clients are installed, and so needs nothing of the project's.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import sys
import traceback


def run(path: str, key: str) -> tuple[int, str]:
    """Run one program with that key in its environment."""
    os.environ["CHUTES_API_KEY"] = key
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            runpy.run_path(path, run_name="__main__")
        except BaseException:  # noqa: BLE001 - SystemExit too: a recipe has no business to fail
            traceback.print_exc()
            return 1, said.getvalue()
    return 0, said.getvalue()


if __name__ == "__main__":
    json.dump([run(path, key) for path, key in json.load(sys.stdin)], sys.stdout)
