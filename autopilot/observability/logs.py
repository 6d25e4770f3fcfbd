"""The two log formats: text, or one JSON object per line.

Callers log format strings with named fields; the format is the operator's choice. A line never
contains what might be a secret or an address (contract §10): a field that is not plain data appears
as its type's name, because an object's ``repr`` may include a header; a traceback shows source
lines, but neither variables nor the error's message. No value can end a line early or send an
escape sequence to a terminal.
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

from autopilot.observability.log_rate_limit import LogRateLimit, failure_kind

_LEVELS = (LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error, LogLevel.critical)
_MAX_DEPTH = 4
_COUNT = "log_times"
SHORT_MESSAGE = "log_short_message"
"""The key of a message for JSON lines, for events whose text repeats their fields."""
_SEQUENCES = (list, tuple, set, frozenset)  # compared by exact type: a named tuple is not plain
_OLDER_API = frozenset({"format", "isError", "message", "system", "time"})
_OLDER_API_ON_FAILURE = _OLDER_API | {"failure", "why"}
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127) if code != ord("\n")}


class Sink(Protocol):
    """The output of the log: ``sys.stdout``, or Twisted's ``LogFile``."""

    def write(self, text: str, /) -> object:
        """Write one line."""

    def flush(self) -> object:
        """Flush what was written."""


@implementer(ILogObserver)
class LineObserver:
    """Writes and flushes each event at or above a level, in one of the two formats.

    What Twisted itself says at the level ``info``, such as the class of its reactor, is ``debug``.
    Repeated tracebacks are rate-limited, and written with their number. A failing sink loses lines,
    which ``lost`` counts.
    """

    lost = 0

    def __init__(self, sink: Sink, log_format: str, level: str) -> None:
        self._sink = sink
        self._repeats = LogRateLimit()
        self.configure(log_format, level)

    def configure(self, log_format: str, level: str) -> None:
        """Write ``text`` or ``json`` from now on, and no event below ``level``."""
        self._render = {"text": text_line, "json": json_line}[log_format]
        least = LogLevel.levelWithName(level)
        self._accepted = frozenset(_LEVELS[_LEVELS.index(least) :])

    def __call__(self, event: LogEvent) -> None:
        """Write the event, unless its level or the rate limit suppresses it."""
        if _is_internal(event):
            event = {**event, "log_level": LogLevel.debug}
        if event.get("log_level", LogLevel.info) not in self._accepted:
            return
        failure = _failure(event)
        if failure is not None:
            kind = (_logger(event), event.get("log_format"), failure_kind(failure))
            count = self._repeats.admit(kind, event.get("log_time", 0.0))
            if count is None:
                return
            event = {**event, _COUNT: count}
        try:
            self._sink.write(self._render(event))
            self._sink.flush()
        except Exception:  # noqa: BLE001  a full disk must not fail what is logged
            self.lost += 1


def line_observer(sink: Sink, log_format: str, level: str) -> LineObserver:
    """Return the observer for a format (``text`` or ``json``) and the name of the lowest level."""
    return LineObserver(sink, log_format, level)


def text_line(event: LogEvent) -> str:
    """Format time, level, logger and message in ASCII, with further lines indented."""
    text = f"{_time(event)} {_level(event)} {_logger(event)}: {_message(event)}"
    failure = _failure(event)
    if failure is not None:
        count = event.get(_COUNT, 1)
        again = f" ({count} times since the last such message)" if count > 1 else ""
        text += f"{again}\n{_traceback(failure)}"
    return visible(text) + "\n"


def visible(text: str) -> str:
    """Escape control and non-ASCII characters, and indent all lines but the first."""
    if is_plain(text):
        return text
    shown = text.translate(_CONTROL).replace("\n", "\n    ")
    return shown.encode("ascii", "backslashreplace").decode()


def is_plain(text: str) -> bool:
    """Return whether ``text`` is a single line of printable ASCII; nearly all messages are."""
    return text.isascii() and text.isprintable()


def json_line(event: LogEvent) -> str:
    """Format ``time``, ``level``, ``logger``, ``message`` and the event's own fields as JSON.

    A failure adds ``error`` (its type), ``traceback``, and ``times``: the number of such failures
    since the last one written. Never raises, whatever the fields contain.
    """
    record: dict[str, object] = {
        "time": _time(event),
        "level": _level(event),
        "logger": _logger(event),
        "message": event.get(SHORT_MESSAGE) or _message(event),
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
    """Return the names of the caller's fields; events of the legacy log API have none.

    An observer of the legacy API may have handled the event first and added its own names.
    """
    if "isError" in event and "log_logger" not in event:
        return []
    foreign: frozenset[str] = frozenset()
    if "isError" in event:
        foreign = _OLDER_API_ON_FAILURE if "log_failure" in event else _OLDER_API
    return [name for name in event if not name.startswith("log_") and name not in foreign]


def plain(value: object, depth: int = 0) -> object:
    """Convert ``value`` to JSON data; whatever is not plain data becomes its type's name."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int) and value.bit_length() <= 64:
        return value
    if isinstance(value, float) and isfinite(value):
        return value
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        return {_key(key): plain(item, depth + 1) for key, item in value.items()}
    if depth < _MAX_DEPTH and type(value) in _SEQUENCES:
        return [plain(item, depth + 1) for item in cast("Iterable[object]", value)]
    return f"<{type(value).__name__}>"


def _key(key: object) -> str:
    """Convert a mapping's key to a string."""
    return key if isinstance(key, str) else str(plain(key, _MAX_DEPTH))


def _is_internal(event: LogEvent) -> bool:
    """Return whether Twisted, or code that uses its legacy log API, describes its own course."""
    if event.get("log_level") is not LogLevel.info:
        return False
    return str(event.get("log_namespace", "")).startswith(("twisted.", "log_legacy"))


def _time(event: LogEvent) -> str:
    """Return the event's time."""
    return utc(event.get("log_time", 0.0))


def utc(moment: float) -> str:
    """Format Unix time as ISO 8601 in UTC, with milliseconds."""
    whole = int(moment)
    carry, micros = divmod(round((moment - whole) * 1e6), 1_000_000)
    return f"{_second(whole + carry)}.{micros // 1000:03d}Z"


@lru_cache(maxsize=2)
def _second(whole: int) -> str:
    """Format whole seconds; cached, because consecutive events share their second."""
    return datetime.fromtimestamp(whole, UTC).isoformat().removesuffix("+00:00")


def _level(event: LogEvent) -> str:
    """Return the name of the event's level."""
    return str(event.get("log_level", LogLevel.info).name)


def _logger(event: LogEvent) -> str:
    """Return the name of the logger."""
    return str(event.get("log_namespace") or event.get("system") or "-")


def _message(event: LogEvent) -> str:
    """Return the formatted message.

    The message of a legacy error contains its traceback, which is written separately.
    """
    if "isError" in event and _failure(event) is not None:
        return str(event.get("why") or "Unhandled error")
    return formatEvent(event)


def _traceback(failure: Failure) -> str:
    """Format the stack and the error's type.

    The error's message is left out, because it often quotes the data being handled.
    """
    lines = ["Traceback (most recent call last):\n"]
    format_frames(failure.frames, lines.append)
    number = failure.value.errno if isinstance(failure.value, OSError) else None
    meaning = f": {os.strerror(number)}" if isinstance(number, int) else ""
    return f"{''.join(lines)}{qual(type(failure.value))}{meaning}"


def _failure(event: LogEvent) -> Failure | None:
    """Return the failure that the event reports, in either log API."""
    failure = event.get("failure" if "isError" in event else "log_failure")
    return failure if isinstance(failure, Failure) else None
