"""Errors in the shapes that engines and the platform write: which JSON is one, and whose fault."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from autopilot.relay.long_document import document_value
from autopilot.relay.meaning import NOTHING, Meaning, Reading

# Tuples, for what is looked up in them may be of any type, hashable or not.
_FAILED_TYPE = "response.failed"
ERROR_TYPES = ("error", _FAILED_TYPE)
# An error beside one of these is a remark on an answer.
_TOP_LEVEL_ANSWERS = ("choices", "content", "output")
# Errors that are the request's own fault: another model would refuse it as well.
_OWN_CODES = (400, 413, 422, "400", "413", "422")
_OWN_TYPES = ("invalid_request_error", "BadRequestError")
# A part of every name and value by which `reports_bare_error` knows an error, or of the escape
# with which it may be spelled. What has none of them need not be decoded.
MAY_BE_ERROR = re.compile(rb"error|detail|failed|\\u")
_ERROR = Reading(Meaning.ERROR)
_FAILED = Reading(Meaning.FAILED)
_OWN_ERROR = Reading(Meaning.OWN_ERROR)


def is_error(data: bytes) -> bool:
    """Return whether bytes that stand outside events are JSON that reports an error."""
    return MAY_BE_ERROR.search(data) is not None and reports_bare_error(document_value(data))


def error_text(data: bytes) -> str | None:
    """Return the text of an error, in whichever of the usual places it stands."""
    for value in _errors(document_value(data)):
        for text in (value.get("message"), value.get("error"), value.get("detail")):
            if isinstance(text, str):
                return text
    return None


def reports_bare_error(value: object) -> bool:
    """Return whether JSON outside events reports an error; some APIs put theirs in a list."""
    if isinstance(value, list):
        value = value[0] if value else None
    return reports_error(value) or reports_detail(value)


def reports_error(value: object) -> bool:
    """Return whether an object is an error in one of the shapes that engines write."""
    if not isinstance(value, dict):
        return False
    if value.get("object") == "error" or value.get("type") in ERROR_TYPES:
        return True
    return bool(value.get("error")) and not _holds_answer(value)


def reports_detail(value: object) -> bool:
    """Return whether an object is an error of the platform's, which says all in ``detail``."""
    return isinstance(value, dict) and bool(value.get("detail")) and not _holds_answer(value)


def _holds_answer(value: dict[str, Any]) -> bool:
    return any(value.get(name) not in NOTHING for name in _TOP_LEVEL_ANSWERS)


def error_reading(value: object) -> Reading:
    """Return an error as this request's own, or as one that another model may not have."""
    for error in _errors(value):
        if error.get("code") in _OWN_CODES or error.get("type") in _OWN_TYPES:
            return _OWN_ERROR
    failed = isinstance(value, dict) and value.get("type") == _FAILED_TYPE
    return _FAILED if failed else _ERROR


def _errors(value: object) -> Iterator[dict[str, Any]]:
    """Yield the objects in which an error's code, type and text may stand, innermost first."""
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, dict):
        response = value.get("response")
        inner = response.get("error") if isinstance(response, dict) else None
        yield from dicts([inner, value.get("error"), value])


def dicts(value: object) -> list[dict[str, Any]]:
    """Return the objects in a list; none in anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
