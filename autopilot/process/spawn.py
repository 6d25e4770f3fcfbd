"""The start of a child process that inherits sockets: Python, with this process's import path."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from typing import Any

from twisted.internet.interfaces import IReactorProcess

_MANAGER = frozenset(
    {
        *("LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"),
        *("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"),
    }
)
"""What a service manager tells the process that it starts, and no other."""


def spawn_module(
    reactor: IReactorProcess,
    protocol: Any,
    module: str,
    arguments: Collection[str],
    descriptors: Mapping[int, int],
    environment: Mapping[str, str],
    *,
    piped: bool,
) -> Any:
    """Run a module as a child process, and return its transport.

    ``descriptors`` are those that it inherits, by the numbers that they have there. Its standard
    output and error are this process's own, or ``piped`` to ``protocol``. Raises `OSError`.
    """
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        return reactor.spawnProcess(
            protocol,
            sys.executable,
            # -P: a module in the working directory must not take the place of ours. Without the
            # columns of code, which no log shows, a child needs less memory.
            (sys.executable, "-P", "-X", "no_debug_ranges", "-m", module, *arguments),
            environment,
            None,
            None,
            None,
            False,
            {
                0: nothing,
                1: "r" if piped else 1,
                2: "r" if piped else 2,
                **descriptors,
            },
        )
    finally:
        os.close(nothing)


def environment_without(
    names: Collection[str], environ: Mapping[str, str], path: Collection[str]
) -> dict[str, str]:
    """Return the environment of a child without these variables and those of a service manager.

    ``path`` is where the child looks for modules.
    """
    kept = {
        name: text for name, text in environ.items() if name not in names and name not in _MANAGER
    }
    return {**kept, "PYTHONPATH": os.pathsep.join(os.path.abspath(each) for each in path)}
