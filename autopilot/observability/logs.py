"""How log events become lines: text for people, or one JSON object per line.

Callers log format strings with named fields and never choose a format. What ends up in a line is
kept narrow on purpose. A field that is not plain data appears as its type's name, since an
object's ``repr`` may show a header or an address; tracebacks show source lines, and neither values
of variables nor what the error says; nothing can end a line early or send a terminal an escape
sequence.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from math import isfinite
from typing import Protocol, cast

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure, format_frames
from twisted.python.reflect import qual
from zope.interface import implementer

from autopilot.observability.log_rate_limit import LogRateLimit, alike

_LEVELS = (LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error, LogLevel.critical)
_DEEPEST = 4
_COUNT = "log_times"
_SEQUENCES = (list, tuple, set, frozenset)  # a named tuple is no plain data
_OLDER_API = frozenset({"failure", "format", "isError", "message", "system", "time", "why"})
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127) if code != ord("\n")}


class Sink(Protocol):
    """Where lines go: ``sys.stdout``, or Twisted's ``LogFile``."""

    def write(self, text: str, /) -> object:
        """Take one line."""

    def flush(self) -> object:
        """Let it be seen now."""


@implementer(ILogObserver)
class LineObserver:
    """Writes each event of at least a level in a format, and flushes.

    A traceback that comes again and again is written now and again, with how many there were.
    """

    def __init__(self, sink: Sink, log_format: str, level: str) -> None:
        self._sink = sink
        self._repeats = LogRateLimit()
        self.configure(log_format, level)

    def configure(self, log_format: str, level: str) -> None:
        """Write ``text`` or ``json`` from now on, and nothing below `level`."""
        self._render = {"text": text_line, "json": json_line}[log_format]
        least = LogLevel.levelWithName(level)
        self._accepted = frozenset(_LEVELS[_LEVELS.index(least) :])

    def __call__(self, event: LogEvent) -> None:
        """Write the event, or not."""
        if event.get("log_level", LogLevel.info) not in self._accepted:
            return
        failure = _failure(event)
        if failure is not None:
            kind = (_logger(event), event.get("log_format"), alike(failure))
            count = self._repeats.met(kind, event.get("log_time", 0.0))
            if count is None:
                return
            event = {**event, _COUNT: count}
        self._sink.write(self._render(event))
        self._sink.flush()


def line_observer(sink: Sink, log_format: str, level: str) -> LineObserver:
    """The observer for a `log_format` of ``text`` or ``json``, and the name of the least level."""
    return LineObserver(sink, log_format, level)


def text_line(event: LogEvent) -> str:
    """Time, level, logger and message, in ASCII; what follows in the event is indented below."""
    text = f"{_time(event)} {_level(event)} {_logger(event)}: {_message(event)}"
    failure = _failure(event)
    if failure is not None:
        count = event.get(_COUNT, 1)
        again = f" ({count} times since this was last said)" if count > 1 else ""
        text += f"{again}\n{_traceback(failure)}"
    return visible(text) + "\n"


def visible(text: str) -> str:
    """`text` with nothing in it that a terminal obeys; its further lines are indented."""
    if is_plain(text):
        return text
    shown = text.translate(_CONTROL).replace("\n", "\n    ")
    return shown.encode("ascii", "backslashreplace").decode()


def is_plain(text: str) -> bool:
    """Whether `text` is one line of printable ASCII, as nearly all are."""
    return text.isascii() and text.isprintable()


def json_line(event: LogEvent) -> str:
    """One JSON object: ``time``, ``level``, ``logger``, ``message``, then the event's own fields.

    A failure adds ``error`` (its type), ``traceback``, and ``times``: how many such there were
    since the last that was written. Never raises for any value of a field.
    """
    record: dict[str, object] = {
        "time": _time(event),
        "level": _level(event),
        "logger": _logger(event),
        "message": _message(event),
    }
    failure = _failure(event)
    if failure is not None:
        record["error"] = getattr(failure.type, "__qualname__", "unknown")
        record["traceback"] = _traceback(failure)
        record["times"] = event.get(_COUNT, 1)
    for name in _own_fields(event):
        record.setdefault(name, plain(event[name]))
    return json.dumps(record, separators=(",", ":")) + "\n"


def _own_fields(event: LogEvent) -> list[str]:
    """The names of the fields the caller gave. Events of the older log API have none.

    An observer of the older API may have seen the event first, and left its own names in it.
    """
    if "isError" in event and "log_logger" not in event:
        return []
    foreign = _OLDER_API if "isError" in event else frozenset()
    return [name for name in event if not name.startswith("log_") and name not in foreign]


def plain(value: object, depth: int = 0) -> object:
    """`value` as data that JSON can hold; whatever is not plain data becomes its type's name."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int) and value.bit_length() <= 64:
        return value
    if isinstance(value, float) and isfinite(value):
        return value
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {_key(key): plain(item, depth + 1) for key, item in value.items()}
    if depth < _DEEPEST and type(value) in _SEQUENCES:
        return [plain(item, depth + 1) for item in cast("Iterable[object]", value)]
    return f"<{type(value).__name__}>"


def _key(key: object) -> str:
    """A name for a mapping's key."""
    return key if isinstance(key, str) else str(plain(key, _DEEPEST))


def _time(event: LogEvent) -> str:
    """When the event happened."""
    return utc(event.get("log_time", 0.0))


def utc(moment: float) -> str:
    """A time in seconds since 1970, in UTC with milliseconds."""
    whole = int(moment)
    carry, micros = divmod(round((moment - whole) * 1e6), 1_000_000)
    return f"{_second(whole + carry)}.{micros // 1000:03d}Z"


@lru_cache(maxsize=2)
def _second(whole: int) -> str:
    """A second's part of a time: much happens within one."""
    return datetime.fromtimestamp(whole, UTC).isoformat().removesuffix("+00:00")


def _level(event: LogEvent) -> str:
    """The level's name."""
    return str(event.get("log_level", LogLevel.info).name)


def _logger(event: LogEvent) -> str:
    """Who logged it."""
    return str(event.get("log_namespace") or event.get("system") or "-")


def _message(event: LogEvent) -> str:
    """The event's format string, filled in.

    An error of the older log API has its traceback in its text; that is shown once, elsewhere.
    """
    if "isError" in event and _failure(event) is not None:
        return str(event.get("why") or "Unhandled error")
    return formatEvent(event)


def _traceback(failure: Failure) -> str:
    """Where it went wrong, and with what kind of error.

    What the error says stays out: much of it is a quotation of what was just being handled.
    """
    lines = ["Traceback (most recent call last):\n"]
    format_frames(failure.frames, lines.append)
    number = failure.value.errno if isinstance(failure.value, OSError) else None
    meaning = f": {os.strerror(number)}" if isinstance(number, int) else ""
    return f"{''.join(lines)}{qual(type(failure.value))}{meaning}"


def _failure(event: LogEvent) -> Failure | None:
    """The failure that the event reports, in either log API."""
    failure = event.get("failure" if "isError" in event else "log_failure")
    return failure if isinstance(failure, Failure) else None
