"""The log entry for a bug of ours in private mode.

An exception's own text may quote what was being read: keys, nonces, the platform's words. Its type
and its place in the code are enough to find the bug, and quote nothing.
"""

from __future__ import annotations

from pathlib import PurePath

from twisted.logger import Logger
from twisted.python.failure import Failure


def log_bug(log: Logger, doing: str, failure: Failure) -> None:
    """Log that an exception was raised while something was done, without its text."""
    at = "an unknown place"
    if failure.frames:
        method, path, line = failure.frames[-1][:3]
        at = f"{method}, {PurePath(path).name}:{line}"
    log.error(
        "Internal error while {doing}: {kind} in {at}; please report it",
        doing=doing,
        kind="" if failure.type is None else failure.type.__name__,
        at=at,
    )
