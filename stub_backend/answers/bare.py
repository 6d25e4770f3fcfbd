"""Errors outside events, in each form in which a server or a proxy puts them into a stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import chain

from stub_backend.answers.breaks import NO_TARGETS, first_events
from stub_backend.answers.pages import front_end_page
from stub_backend.call import Call
from stub_backend.dialect import compact
from stub_backend.scenario import JSON, Scenario, body_head, healthy, streamed, success_headers
from stub_backend.steps import Send, Steps

_VALUE = {"error": {"message": NO_TARGETS, "type": "InternalServerError", "code": 500}}
_LONG = {"error": {"message": NO_TARGETS + "." * 70_000, "type": "InternalServerError"}}
_PRETTY = json.dumps(_VALUE, indent=2).encode()

FORMS: Mapping[str, tuple[str, bytes]] = {
    "pretty": ("JSON of several lines", _PRETTY),
    "indented": ("JSON behind blanks", b"  " + compact(_VALUE)),
    "list": ("JSON in a list", compact([_VALUE])),
    "bom": ("JSON behind a byte order mark", b"\xef\xbb\xbf" + compact(_VALUE)),
    "cr": ("JSON whose lines end in CR", _PRETTY.replace(b"\n", b"\r")),
    "long": ("JSON of more than 64 KiB", compact(_LONG)),
    "detail": ("JSON with the platform's detail", compact({"detail": NO_TARGETS})),
    "text": ("a line of text", b"Internal Server Error"),
    "html": ("a page", front_end_page(502, "Server Error", "The server had a bad answer.")),
}
_NO_JSON = frozenset({"text", "html"})


def _first(form: str) -> Callable[[Call], Steps]:
    def answer(call: Call) -> Steps:
        return streamed(call, [FORMS[form][1]]) if call.stream else _plain(call, form)

    return answer


def _tail(form: str) -> Callable[[Call], Steps]:
    def answer(call: Call) -> Steps:
        if not call.stream:
            return _plain(call, form)
        return streamed(call, chain(first_events(call), [FORMS[form][1]]))

    return answer


def _plain(call: Call, form: str) -> Steps:
    """Send the error as the body of a plain answer; what is no JSON has no place there."""
    if form in _NO_JSON:
        yield from healthy(call)
        return
    body = FORMS[form][1]
    yield body_head(200, JSON, len(body), success_headers(call))
    yield Send(body)


BARE: tuple[Scenario, ...] = (
    *(Scenario(f"bare-{form}-first", f"{what} in a stream and nothing else", _first(form))
      for form, (what, _) in FORMS.items()),
    *(Scenario(f"bare-{form}-tail", f"half of the tokens, then {what}", _tail(form))
      for form, (what, _) in FORMS.items()),
)  # fmt: skip
