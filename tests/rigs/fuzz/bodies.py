"""Target for request bodies: each is refused, or forwarded with only its model replaced.

The standard library's decoder defines what a body means.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple, NoReturn
from unittest.mock import patch

from autopilot.request import body as request_body
from autopilot.request.body import ParsedBody
from autopilot.request.json_scan import MAX_MEMBERS
from autopilot.request.usage_option import ask_for_usage
from autopilot.routing.router_error import RouterError

_CODES = ("invalid_json", "invalid_body", "missing_model", "invalid_model", "invalid_model_list")
_MAY_GO = ("stream", "stream_options")
_MODEL = 'org/New-"1"'

Pairs = list[tuple[str, Any]]


def body(data: bytes) -> None:
    """Parse the data as a request body."""
    asked = request_body.parse_body(data)
    if isinstance(asked, RouterError):
        assert asked.status == 400 and asked.code in _CODES, asked
        _check_refusal(data, asked)
        return
    sent = asked.template.naming(_MODEL)
    assert asked.template.size == len(sent) - len(json.dumps(_MODEL)), sent
    _check_alternatives(data, asked, sent)
    _check_asking(asked, sent)
    for least in (None, 0, 100):
        asked.needs(least)
    _check_bytes(data, asked, sent)
    try:
        before, after = _pairs(data), _pairs(sent)
    except RecursionError:
        return
    _check_meaning(before, after, asked)


def _check_alternatives(data: bytes, asked: ParsedBody, sent: bytes) -> None:
    """Check that equal bodies give equal results, with the fast scanner and without it."""
    again = request_body.parse_body(bytes(bytearray(data)))
    with patch.object(request_body, "scan_fast", return_value=None):
        closely = request_body.parse_body(data)
    for other in (again, closely):
        assert isinstance(other, ParsedBody), other
        assert other.template.naming(_MODEL) == sent, (other.template.naming(_MODEL), sent)
        assert (other.model, other.stream) == (asked.model, asked.stream), (other, asked)


def _check_asking(asked: ParsedBody, sent: bytes) -> None:
    """Check that a request for usage changes only the options, and leaves one."""
    template = ask_for_usage(asked).template
    asking = template.naming(_MODEL)
    assert template.size == len(asking) - len(json.dumps(_MODEL)), asking
    if not template.asks_usage:
        assert asking == sent, (asking, sent)
        return
    try:
        before, after = _pairs(sent), _pairs(asking)
    except RecursionError:
        return
    (options,) = (value for key, value in after if key == "stream_options")
    assert [value for key, value in options if key == "include_usage"] == [True], after
    others = [[pair for pair in pairs if pair[0] != "stream_options"] for pairs in (before, after)]
    assert others[0] == others[1], (before, after)


def _check_bytes(data: bytes, asked: ParsedBody, sent: bytes) -> None:
    """Check that only the value of one ``model`` differs, unless a member was left out."""
    hole = asked.template
    if hole.whole == data:
        assert json.loads(data[hole.start : hole.end]) == asked.model
        assert sent == data[: hole.start] + json.dumps(_MODEL).encode() + data[hole.end :]


def _check_meaning(before: Pairs, after: Pairs, asked: ParsedBody) -> None:
    """Check that the other members keep values and order.

    Only a member that is null, and that the upstream must not receive as null, may be missing.
    """
    last = dict(before)
    gone = {key for key in _MAY_GO if key in last and last[key] is None}
    kept = [
        (key, value)
        for key, value in before
        if key not in ("model", "models", *gone) and not (key in _MAY_GO and value is None)
    ]
    assert [pair for pair in after if pair[0] != "model"] == kept, (before, after)
    assert [value for key, value in after if key == "model"] == [_MODEL], after
    if last.get("models"):
        assert all(each in asked.model for each in last["models"]), asked
    else:
        assert last["model"] == asked.model and bool(asked.model.strip()), asked
    assert asked.stream is (dict(after).get("stream") is True), after


def _check_refusal(data: bytes, refusal: RouterError) -> None:
    """Check that the body deserves its error code."""
    try:
        pairs = _pairs(data)
    except NotAnObjectError:
        assert refusal.code in ("invalid_body", "invalid_json"), refusal
        return
    except (ValueError, RecursionError):
        return
    if refusal.code == "invalid_body":
        assert len(pairs) > MAX_MEMBERS, refusal
        return
    assert refusal.code != "invalid_json", refusal
    model, models = dict(pairs).get("model"), dict(pairs).get("models")
    if refusal.code == "invalid_model_list":
        assert not isinstance(models, list) or not all(
            isinstance(each, str) and _is_text(each) for each in models
        ), models
        return
    if refusal.code == "missing_model":
        assert model is None or (isinstance(model, str) and not model.strip()), model
        assert not models, models
    else:
        assert not isinstance(model, str) or not _is_text(model), model


class NotAnObjectError(ValueError):
    """Valid JSON that is not an object."""


def _pairs(text: bytes) -> Pairs:
    """Return the members of a JSON object (RFC 8259), with numbers as written."""
    members: list[Pairs] = []

    def note(pairs: Pairs) -> Pairs:
        members.append(pairs)
        return pairs

    value: object = json.loads(
        text.decode(),
        parse_int=_Number,
        parse_float=_Number,
        parse_constant=_refuse,
        object_pairs_hook=note,
    )
    if not members or value is not members[-1]:
        raise NotAnObjectError
    return members[-1]


class _Number(NamedTuple):
    """A number as written; a float would lose digits."""

    text: str


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
