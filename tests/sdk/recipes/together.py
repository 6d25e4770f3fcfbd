"""Runs several programs in one interpreter, because their imports take longest.

Standard input is a JSON list of paths and keys; standard output is a list of exit statuses and
outputs. The program runs in the clients' environment, without the project.
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
    """Run one program with this key in its environment."""
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
