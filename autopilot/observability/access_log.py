"""Request records as lines, written without a detour through Twisted's log.

A busy router spent more on the log event of a request than on relaying it. In a process of its own
it therefore writes the lines of its records itself: the same bytes that
``autopilot.observability.logs`` makes of the events of ``records_to_log``, to the same sink, one
write each.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from json import JSONEncoder
from math import inf

import msgspec
from twisted.logger import Logger

from autopilot.observability.logs import Sink, utc, visible
from autopilot.observability.records import RequestRecord, facts, reasons
from autopilot.observability.reporter import MESSAGE, NAMESPACE

_HEARD_AT = frozenset({"debug", "info"})
_SECONDS_BETWEEN_COMPLAINTS = 60.0
_CONSTANT = f'"level":"info","logger":"{NAMESPACE}","message":"{MESSAGE}"'
_encoder = msgspec.json.Encoder()
_encode = JSONEncoder(separators=(",", ":")).encode
_log = Logger(namespace="autopilot.observability")


def records_to_lines(
    sink: Sink, log_format: str, level: str, now: Callable[[], float] = time.time
) -> RecordLines:
    """Writes records as lines to ``sink``; ``now`` is the wall clock, in seconds since 1970.

    ``log_format`` is ``text`` or ``json``. Records are of level ``info``: where the least ``level``
    is above that, none is written.
    """
    return RecordLines(sink, log_format, level, now)


class RecordLines:
    """Writes each record in a format, and flushes.

    A sink that fails costs lines and never a request. How many, it says itself once it works again;
    before that, whoever could be told reads the same sink.
    """

    def __init__(self, sink: Sink, log_format: str, level: str, now: Callable[[], float]) -> None:
        self._write = sink.write
        self._flush = sink.flush
        self._now = now
        self._lost = 0
        self._cause = ""
        self._complained = -inf
        self.configure(log_format, level)

    def configure(self, log_format: str, level: str) -> None:
        """Write ``text`` or ``json`` from now on, or nothing if `level` is above ``info``."""
        self._render = {"text": text_of, "json": json_of}[log_format]
        self._heard = level in _HEARD_AT

    def __call__(self, record: RequestRecord) -> None:
        """Write one record, if it is heard."""
        if not self._heard:
            return
        moment = self._now()
        try:
            self._write(self._render(record, moment))
            self._flush()
        except Exception as wrong:  # noqa: BLE001  nothing was awaited, so nothing was cancelled
            self._lost += 1
            self._cause = getattr(wrong, "strerror", None) or type(wrong).__name__
            return
        if self._lost and moment - self._complained >= _SECONDS_BETWEEN_COMPLAINTS:
            self._complained, lost, self._lost = moment, self._lost, 0
            _log.warn(
                "up to {lost} request records are missing: {cause}", lost=lost, cause=self._cause
            )


def text_of(record: RequestRecord, moment: float) -> str:
    """The line for people."""
    return visible(f"{utc(moment)} info {NAMESPACE}: {_message(record)}") + "\n"


def json_of(record: RequestRecord, moment: float) -> str:
    """Return the line for programs: one object, in ASCII."""
    try:
        encoded = _encoder.encode(record)
    except UnicodeEncodeError:  # half a surrogate pair, in a name that a client made up
        encoded = b"\\"
    if encoded.isascii() and b"\\" not in encoded and b"\x7f" not in encoded:
        return f'{{"time":"{utc(moment)}",{_CONSTANT},{encoded[1:].decode()}\n'
    # Escape what a terminal or a log shipper may take for a control sequence or another encoding.
    line = {"time": utc(moment), "level": "info", "logger": NAMESPACE, "message": MESSAGE}
    return _encode({**line, **facts(record)}) + "\n"


def _message(record: RequestRecord) -> str:
    """Return what the pieces of ``records_to_log`` say, filled in."""
    model, status, first = record.model, record.status, record.ttfb_ms
    pieces = (
        record.req_id,
        record.mode,
        f"model={model}" if model else None,
        None if status is None else f"status={status}",
        f"attempts={record.attempts}/{record.candidates}",
        f"failovers={reasons(record)}" if record.failovers else None,
        None if first is None else f"ttfb={first}ms",
        f"duration={record.duration_ms}ms",
        f"bytes={record.bytes}",
        record.outcome,
    )
    return " ".join(filter(None, pieces))
