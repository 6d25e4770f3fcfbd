"""What becomes of request records: one log event per request, successes thinned on demand.

The text of an event says only what there is to say; the event carries every fact under its own
name, as a number where it is one, for observers that write JSON. Neither holds anything of the
client's but the request id it may have chosen, and a model's name.

A process that is all the router's own spares itself the events:
``autopilot.observability.access_log`` makes the same lines of the records at once, at a tenth of
the price.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from autopilot.observability.records import RequestRecord, facts

NAMESPACE = "autopilot.requests"

_QUIET = "completed"
# Constant pieces of the line, each shown only when its fact is known.
_PIECES = (
    ("req_id", "{req_id}"),
    ("mode", "{mode}"),
    ("model", "model={model}"),
    ("status", "status={status}"),
    ("attempts", "attempts={attempts}/{candidates}"),
    ("failovers", "failovers={failovers}"),
    ("ttfb_ms", "ttfb={ttfb_ms}ms"),
    ("duration_ms", "duration={duration_ms}ms"),
    ("bytes", "bytes={bytes}"),
    ("outcome", "{outcome}"),
)


class Reporter:
    """Has records written. ``sample`` is the share of undisturbed successes that are, 0 to 1."""

    def __init__(
        self,
        sample: float,
        random: Callable[[], float],
        write: Callable[[RequestRecord], None],
    ) -> None:
        self.sample = sample
        self._random = random
        self._write = write

    def report(self, record: RequestRecord) -> None:
        """Write one record, or not."""
        if _is_quiet(record) and self._random() >= self.sample:
            return
        self._write(record)


def records_to_log(log: Logger | None = None) -> Callable[[RequestRecord], None]:
    """Writes records as events of Twisted's log, for whoever observes it."""
    logger = log or Logger(namespace=NAMESPACE)

    def write(record: RequestRecord) -> None:
        known = facts(record)
        line = " ".join(text for name, text in _PIECES if known[name] not in (None, ""))
        logger.info(line, **known)

    return write


def _is_quiet(record: RequestRecord) -> bool:
    """Whether nothing went wrong: no failover, no error, and a stream that said it was over."""
    undisturbed = not record.failovers and record.terminated
    return undisturbed and record.outcome == _QUIET and (record.status or 0) < 400
