"""The log of finished requests: one event each; ``LOG_SAMPLE`` reduces those of successes.

The event's text contains only the known facts. Its fields contain all of them, as numbers if
possible, for observers that write JSON. Of the client's own data it contains the request id, if the
client chose it, and the model's name.

Under ``twistd autopilot``, ``autopilot.observability.access_log`` formats the same lines directly
from the records, without events, at a tenth of the cost.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger, LogLevel

from autopilot.observability.logs import SHORT_MESSAGE
from autopilot.observability.records import (
    FAILURES,
    RequestRecord,
    cost_text,
    facts,
    failed_attempts,
    quoted,
    usage_text,
)

NAMESPACE = "autopilot.requests"

MESSAGE = "Request finished"
"""The message of a JSON line, in which every fact of the record has its own member."""

_FAILED, _REQ_ID, _MODEL = "log_failed_attempts", "log_req_id", "log_model"
_STREAM, _USAGE, _COST = "log_stream", "log_usage", "log_cost"
_PRIVATE = "log_private"
# The parts of a line in order, each with the field that it needs.
_PIECES = (
    ("req_id", f"{{{_REQ_ID}}}"),
    ("mode", "{mode}"),
    ("model", f"model={{{_MODEL}}}"),
    ("why", "why={why}"),
    ("status", "status={status}"),
    ("code", "code={code}"),
    ("attempts", "attempts={attempts}/{candidates}"),
    (_FAILED, f"failovers={{{_FAILED}}}"),
    ("ttfb_ms", "ttfb={ttfb_ms}ms"),
    ("duration_ms", "duration={duration_ms}ms"),
    ("bytes", "bytes={bytes}"),
    (_USAGE, f"tokens={{{_USAGE}}}"),
    (_COST, f"cost={{{_COST}}}"),
    ("key", "key={key}"),
    ("endpoint", "endpoint={endpoint}"),
    ("stream", f"stream={{{_STREAM}}}"),
    ("reason", "reason={reason}"),
    (_PRIVATE, f"private={{{_PRIVATE}}}"),
    ("instance", "instance={instance}"),
    ("backend", "backend={backend}"),
    ("hedged", "hedged={hedged}"),
    ("worker", "worker={worker}"),
    ("outcome", "{outcome}"),
)


class Reporter:
    """Samples records and writes them; ``sample``, 0 to 1, is the share of clean successes kept."""

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
        """Write the record, unless it is a success that the sample leaves out."""
        clean = record.outcome not in FAILURES and not record.failovers and record.terminated
        if clean and self._random() >= self.sample:
            return
        self._write(record)


def records_to_log(
    log: Logger | None = None, worker: int | None = None
) -> Callable[[RequestRecord], None]:
    """Return a function that logs records as events of Twisted's log.

    ``worker`` is the number of this process among the workers of a router, which each event then
    has.
    """
    logger = log or Logger(namespace=NAMESPACE)
    number = {} if worker is None else {"worker": worker}

    def write(record: RequestRecord) -> None:
        quoting = {_REQ_ID: quoted(record.req_id), _MODEL: quoted(record.model or "")}
        derived = {
            _FAILED: quoted(failed_attempts(record)),
            _STREAM: "true" if record.stream else "false",
            _USAGE: usage_text(record),
            _COST: cost_text(record),
            _PRIVATE: "true" if record.private else "",
        }
        fields = {**number, **facts(record), **quoting, **derived}
        line = " ".join(text for name, text in _PIECES if fields.get(name) not in (None, ""))
        level = LogLevel.warn if record.outcome in FAILURES else LogLevel.info
        logger.emit(level, line, **fields, **{SHORT_MESSAGE: MESSAGE})

    return write
