"""Access log: request records as lines, written without Twisted's log.

A log event cost a busy router more than relaying the request. As a process of its own the router
therefore writes the lines of records directly: the same bytes that ``autopilot.observability.logs``
produces from the events of ``records_to_log``, to the same sink, with one write each.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from json import JSONEncoder
from math import inf

import msgspec
from twisted.logger import Logger

from autopilot.observability.logs import Sink, utc, visible
from autopilot.observability.records import (
    FAILURES,
    RequestRecord,
    cost_text,
    facts,
    failed_attempts,
    quoted,
    usage_text,
)
from autopilot.observability.reporter import MESSAGE, NAMESPACE

_EVERY_RECORD = frozenset({"debug", "info"})
_FAILED_RECORDS = _EVERY_RECORD | {"warn"}
_SECONDS_BETWEEN_WARNINGS = 60.0
_CONSTANT = f'"logger":"{NAMESPACE}","message":"{MESSAGE}"'
_encoder = msgspec.json.Encoder()
_encode = JSONEncoder(separators=(",", ":")).encode
_log = Logger(namespace="autopilot.observability")


def records_to_lines(
    sink: Sink,
    log_format: str,
    level: str,
    now: Callable[[], float] = time.time,
    worker: int | None = None,
) -> RecordLines:
    """Return a writer of records; ``now`` is the wall clock, in seconds since 1970.

    ``log_format`` is ``text`` or ``json``. Records of failures have the level ``warn``, the others
    ``info``; one whose level is below ``level`` is not written. ``worker`` is the number of this
    process among the workers of a router, which each line then has.
    """
    return RecordLines(sink, log_format, level, now, worker)


class RecordLines:
    """Writes each record as a line, and flushes.

    A failing sink loses lines, which ``lost`` counts, but never fails a request. A warning with
    their number follows once the sink works again; it could not be written before, because it uses
    the same sink.
    """

    def __init__(
        self,
        sink: Sink,
        log_format: str,
        level: str,
        now: Callable[[], float],
        worker: int | None = None,
    ) -> None:
        self._worker = worker
        self._write = sink.write
        self._flush = sink.flush
        self._now = now
        self.lost = self._lost = 0
        self._cause = ""
        self._warned_at = -inf
        self.configure(log_format, level)

    def configure(self, log_format: str, level: str) -> None:
        """Set the format (``text`` or ``json``) and the lowest level that is written."""
        render = {"text": text_of, "json": json_of}[log_format]
        self._render = render if self._worker is None else partial(render, worker=self._worker)
        self._every = level in _EVERY_RECORD
        self._failed = level in _FAILED_RECORDS

    def __call__(self, record: RequestRecord) -> None:
        """Write one record, unless its level is disabled."""
        if not self._every and not (self._failed and record.outcome in FAILURES):
            return
        moment = self._now()
        try:
            self._write(self._render(record, moment))
            self._flush()
        except Exception as error:  # noqa: BLE001  nothing was awaited, so nothing was cancelled
            self.lost += 1
            self._lost += 1
            self._cause = getattr(error, "strerror", None) or type(error).__name__
            return
        if self._lost and moment - self._warned_at >= _SECONDS_BETWEEN_WARNINGS:
            self._warned_at, lost, self._lost = moment, self._lost, 0
            _log.warn(
                "Up to {lost} request records were lost: {cause}", lost=lost, cause=self._cause
            )


def text_of(record: RequestRecord, moment: float, worker: int | None = None) -> str:
    """Return the line in the format ``text``."""
    level = "warn" if record.outcome in FAILURES else "info"
    message = _message(record, worker)
    return visible(f"{utc(moment)} {level} {NAMESPACE}: {message}") + "\n"


def json_of(record: RequestRecord, moment: float, worker: int | None = None) -> str:
    """Return the line in the format ``json``: one object, in ASCII."""
    level = "warn" if record.outcome in FAILURES else "info"
    try:
        encoded = _encoder.encode(record)
    except UnicodeEncodeError:  # half of a surrogate pair, in a model name from a client
        encoded = b"\\"
    if encoded.isascii() and b"\\" not in encoded and b"\x7f" not in encoded:
        number = "" if worker is None else f'"worker":{worker},'
        head = f'{{"time":"{utc(moment)}","level":"{level}",{_CONSTANT},{number}'
        return f"{head}{encoded[1:].decode()}\n"
    # Escape what a terminal or a log shipper may take for a control sequence or another encoding.
    line = {"time": utc(moment), "level": level, "logger": NAMESPACE, "message": MESSAGE}
    members: dict[str, object] = {} if worker is None else {"worker": worker}
    return _encode({**line, **members, **facts(record)}) + "\n"


def _message(record: RequestRecord, worker: int | None) -> str:
    """Return the message of a record, equal to the formatted event of ``records_to_log``."""
    model, status, first = record.model, record.status, record.ttfb_ms
    pieces = (
        quoted(record.req_id),
        record.mode,
        f"model={quoted(model)}" if model else None,
        None if record.why is None else f"why={record.why}",
        None if status is None else f"status={status}",
        None if record.code is None else f"code={record.code}",
        f"attempts={record.attempts}/{record.candidates}",
        f"failovers={quoted(failed_attempts(record))}" if record.failovers else None,
        None if first is None else f"ttfb={first}ms",
        f"duration={record.duration_ms}ms",
        f"bytes={record.bytes}",
        None if record.usage is None else f"tokens={usage_text(record)}",
        None if record.cost_picodollars is None else f"cost={cost_text(record)}",
        None if record.key is None else f"key={record.key}",
        f"endpoint={record.endpoint}" if record.endpoint else None,
        None if record.stream is None else f"stream={'true' if record.stream else 'false'}",
        None if record.reason is None else f"reason={record.reason}",
        "private=true" if record.private else None,
        None if record.instance is None else f"instance={record.instance}",
        None if record.backend is None else f"backend={record.backend}",
        None if record.hedged is None else f"hedged={record.hedged}",
        None if worker is None else f"worker={worker}",
        record.outcome,
    )
    return " ".join(filter(None, pieces))
