"""Records of requests as a router writes them: lines of its log, and members of /status.json."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from autopilot.observability.reporter import NAMESPACE

_LINE: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT[\d:.]+Z) \w+ " + re.escape(NAMESPACE) + r": (.*)", re.DOTALL
)
_WORD: Final = re.compile(r'(?:([a-z_]+)=)?("(?:[^"\\]|\\.)*"|[^\s"]*)(?:\s+|$)')
_FLAGS: Final = {"true": True, "false": False}
_BARE_WORDS: Final = 3


class FailedAttempt(Struct, frozen=True):
    """A failed attempt; a router of an older version says the reason alone."""

    model: str = ""
    reason: str = ""
    status: int | None = None
    ms: float | None = None


class SeenRecord(Struct, frozen=True):
    """A record of any version: what its router does not say is empty or None."""

    time: str = ""
    req_id: str = ""
    mode: str = ""
    model: str | None = None
    why: str | None = None
    status: int | None = None
    code: str | None = None
    endpoint: str = ""
    stream: bool | None = None
    attempts: int = 0
    candidates: int = 0
    failovers: tuple[FailedAttempt, ...] = ()
    ttfb_ms: float | None = None
    duration_ms: float = 0.0
    bytes: int = 0
    reason: str | None = None
    worker: int | None = None
    outcome: str = ""


class _Logged(Struct):
    logger: str = ""


def record_of_line(line: str) -> SeenRecord | None:
    """Return the record that a line of the log holds, in either format; None without one.

    Whatever is before it, such as the name of a container, is left out.
    """
    begin = line.find("{")
    if begin >= 0 and NAMESPACE in line:
        try:
            if msgspec.json.decode(line[begin:], type=_Logged).logger == NAMESPACE:
                return msgspec.json.decode(line[begin:], type=SeenRecord)
        except (msgspec.DecodeError, RecursionError):
            return None
    matched = _LINE.search(line)
    if matched is None:
        return None
    try:
        return _of_text(matched[1], matched[2])
    except (ValueError, KeyError):
        return None


def record_of_status(member: Mapping[str, Any]) -> SeenRecord | None:
    """Return the record of a member of ``recent``; None if it is not one, as of older versions."""
    try:
        found = msgspec.convert({**member, "time": member["ended_at"]}, SeenRecord)
    except (KeyError, msgspec.ValidationError):
        return None
    return found if found.outcome else None


def _of_text(time: str, text: str) -> SeenRecord:
    """Parse a line of the format ``text`` from its message on.

    Raises `ValueError` or `KeyError`.
    """
    bare, named = [], {}
    for name, value in _words(text):
        if name:
            named[name] = value
        else:
            bare.append(value)
    if len(bare) != _BARE_WORDS:
        raise ValueError(text)
    attempts, _, candidates = named["attempts"].partition("/")
    failovers = named.get("failovers", "")
    return SeenRecord(
        time=time,
        req_id=bare[0],
        mode=bare[1],
        model=named.get("model"),
        why=named.get("why"),
        status=int(named["status"]) if "status" in named else None,
        code=named.get("code"),
        endpoint=named.get("endpoint", ""),
        stream=_FLAGS.get(named.get("stream", "")),
        attempts=int(attempts),
        candidates=int(candidates),
        failovers=tuple(map(_failed, failovers.split(","))) if failovers else (),
        ttfb_ms=_milliseconds(named["ttfb"]) if "ttfb" in named else None,
        duration_ms=_milliseconds(named["duration"]),
        bytes=int(named["bytes"]),
        reason=named.get("reason"),
        worker=int(named["worker"]) if "worker" in named else None,
        outcome=bare[2],
    )


def _words(text: str) -> Iterator[tuple[str | None, str]]:
    """Yield the words of a line, each with its name if it has one. Raises `ValueError`."""
    place, text = 0, text.strip()
    while place < len(text):
        word = _WORD.match(text, place)
        if word is None or word.end() == place:
            raise ValueError(text)
        place = word.end()
        value = word[2]
        yield word[1], json.loads(value) if value.startswith('"') else value


def _failed(text: str) -> FailedAttempt:
    reason, *rest = text.split(":", 3)
    if not rest:
        return FailedAttempt(reason=reason)
    status, took, model = rest
    return FailedAttempt(model, reason, None if status == "-" else int(status), _milliseconds(took))


def _milliseconds(text: str) -> float:
    return float(text.removesuffix("ms"))
