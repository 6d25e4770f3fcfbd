"""The log of a process that belongs to the router: its lines, and the fast path of its records."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from autopilot.observability.access_log import RecordLines, records_to_lines
from autopilot.observability.logs import LineObserver, Sink, line_observer
from autopilot.process.log_pipe import log_pipe

if TYPE_CHECKING:
    from autopilot.service.lifecycle import AutopilotService
    from autopilot.settings import Settings


def unblocked(sink: Sink | None, reactor: Any) -> Sink | None:
    """Return a sink that never waits for the reader of standard output, in its place."""
    pipe = log_pipe(sys.stdout, reactor) if sink is sys.stdout else None
    if pipe is None:
        return sink
    sys.stdout.flush()
    reactor.addSystemEventTrigger("after", "shutdown", pipe.close)
    return pipe


def log_outputs(
    sink: Sink, settings: Settings, worker: int | None = None
) -> tuple[LineObserver, RecordLines]:
    """Return the observer that writes the log, and the fast path that writes request records.

    ``worker`` is the number that records have if this process is a worker.
    """
    arguments = (sink, settings.log_format, settings.log_level)
    return line_observer(*arguments), records_to_lines(*arguments, worker=worker)


def follow_log_settings(output: LineObserver | RecordLines) -> Callable[[Settings], None]:
    """Return a follower of the settings, which passes those of the log to an output."""
    return lambda settings: output.configure(settings.log_format, settings.log_level)


def own_log(
    router: AutopilotService,
    sink: Sink | None,
    observer: LineObserver | None,
    records: RecordLines | None,
) -> None:
    """Let the outputs follow the router's settings, and the router measure its process.

    An output that is None is not this router's.
    """
    router.followers += [
        follow_log_settings(each) for each in (observer, records) if each is not None
    ]
    router.own_process(
        partial(getattr, each, "lost")
        for each in (sink, observer, records)
        if hasattr(each, "lost")
    )
