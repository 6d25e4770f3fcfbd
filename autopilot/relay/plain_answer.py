"""What a plain answer means as a whole, and the usage of a usual one at first sight."""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw, Struct

from autopilot.relay.error_objects import (
    ERROR_TYPES,
    dicts,
    error_reading,
    reports_detail,
    reports_error,
)
from autopilot.relay.long_document import MAX_DECODED, document_value
from autopilot.relay.meaning import GIVE_UP_REASONS, GIVE_UP_STATUSES, Meaning


class _Choice(Struct, gc=False):
    finish_reason: str | None = None


class _UsualAnswer(Struct, gc=False):
    """The members by which a plain answer could be something else, in the types of an answer."""

    object: str = ""
    type: str = ""
    error: None = None
    detail: None = None
    status: str | None = None
    stop_reason: str | None = None
    usage: Raw = Raw()


class _ShortAnswer(_UsualAnswer, gc=False):
    choices: list[_Choice] | None = None


class _LongAnswer(_UsualAnswer, gc=False):
    """One of over 64 KiB, which may hold too many choices to make an object of each."""

    choices: Raw = Raw()


_GAVE_UP_CHOICE = re.compile(
    rb'"finish_reason"[ \t\r\n]*+:[ \t\r\n]*+"(?:%b)"' % "|".join(GIVE_UP_REASONS).encode()
)
_short_answer = msgspec.json.Decoder(_ShortAnswer)
_long_answer = msgspec.json.Decoder(_LongAnswer)


def usage_of_usual(body: bytes) -> bytes | None:
    """Return the ``usage`` of a plain answer of the usual kind, empty if it has none; else None.

    The usual kind are answers whose `plain_meaning` is ``CONTENT`` at first sight: nearly all. The
    decoder creates no object for the members that do not matter here, and reads the text of the
    answer once.
    """
    answer: _ShortAnswer | _LongAnswer
    try:
        if len(body) <= MAX_DECODED:
            answer = _short_answer.decode(body)
            for choice in answer.choices or ():
                if choice.finish_reason in GIVE_UP_REASONS:
                    return None
        else:
            answer = _long_answer.decode(body)
            if _GAVE_UP_CHOICE.search(answer.choices) is not None:
                return None
    except (ValueError, RecursionError):  # msgspec.DecodeError is a ValueError
        return None
    if answer.object == "error" or answer.type in ERROR_TYPES:
        return None
    # Nearly every answer has neither, and a look through strings for None would cost more.
    if (answer.status is not None or answer.stop_reason is not None) and (
        answer.status in GIVE_UP_STATUSES or answer.stop_reason in GIVE_UP_REASONS
    ):
        return None
    return answer.usage


def plain_meaning(body: bytes) -> Meaning:
    """Return what a plain 2xx means as a whole; what is no JSON object is an answer."""
    if not body:
        return Meaning.EMPTY
    value = document_value(body)
    if not isinstance(value, dict):
        return Meaning.CONTENT
    if reports_error(value) or reports_detail(value):
        return error_reading(value).meaning
    reasons = [choice.get("finish_reason") for choice in dicts(value.get("choices"))]
    gave_up = (
        any(reason in GIVE_UP_REASONS for reason in (*reasons, value.get("stop_reason")))
        or value.get("status") in GIVE_UP_STATUSES
    )
    return Meaning.GAVE_UP if gave_up else Meaning.CONTENT


def judge_document(body: bytes) -> Meaning:
    """Return what a plain 2xx means as a whole, without decoding all of a usual one."""
    return plain_meaning(body) if usage_of_usual(body) is None else Meaning.CONTENT
