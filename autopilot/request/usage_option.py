"""The request for usage that ``USAGE=request`` adds to a stream's body (contract §2).

Engines send the tokens of a chat stream in an extra chunk, and only if the request has
``stream_options.include_usage``.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
from msgspec import structs

from autopilot.request.body import LARGE, BodyTemplate, ParsedBody
from autopilot.request.json_scan import scan

_ASKED = b'"include_usage":true'
_OPTIONS, _INCLUDE, _CONTINUOUS = "stream_options", "include_usage", "continuous_usage_stats"
_NOT_ASKED = (b"false", b"null")
# What stands in place of the model while the options are looked for.
_NO_MODEL = b'""'

_Edit = tuple[int, int, bytes]


class AskingBody(BodyTemplate, frozen=True, gc=False):
    """A request body in which ``text`` replaces the bytes from ``at`` to ``until``.

    They lie outside the value of ``model``.
    """

    asks_usage: ClassVar[bool] = True
    at: int
    until: int
    text: bytes

    def pieces(self, model: str) -> list[bytes | memoryview]:
        """See `BodyTemplate`."""
        whole = self.whole if len(self.whole) < LARGE else memoryview(self.whole)
        name = msgspec.json.encode(model)
        if self.at < self.start:
            between = whole[self.until : self.start]
            return [whole[: self.at], self.text, between, name, whole[self.end :]]
        between = whole[self.end : self.at]
        return [whole[: self.start], name, between, self.text, whole[self.until :]]


def ask_for_usage(body: ParsedBody) -> ParsedBody:
    """Return the same request with a request for usage, or ``body`` itself if nothing is added.

    Nothing is added if the request asks itself, or if its options are duplicated or malformed,
    which is for the upstream to judge. Nor if it would get usage in every chunk then, of which the
    router could not free the answer again.
    """
    template = body.template
    edit = _edit(body)
    if edit is None:
        return body
    at, until, text = edit
    size = template.size + len(text) - (until - at)
    asking = AskingBody(template.whole, template.start, template.end, size, at, until, text)
    return structs.replace(body, template=asking)


def _edit(body: ParsedBody) -> _Edit | None:
    """Return the bytes of the template to replace, from and to an offset, and the new ones."""
    template = body.template
    if not body.fields.stream_options:
        end = template.whole.rindex(b"}")
        return end, end, b',"%b":{%b}' % (_OPTIONS.encode(), _ASKED)
    named = template.naming("")
    try:
        (options,) = (each for each in scan(named)[0] if each.key == _OPTIONS)
        edit = _edit_options(named[options.value : options.end])
    except ValueError:  # several, no object, or too many members
        return None
    if edit is None:
        return None
    at, until, text = edit
    shift = options.value
    if shift > template.start:
        shift += template.end - template.start - len(_NO_MODEL)
    return at + shift, until + shift, text


def _edit_options(options: bytes) -> _Edit | None:
    """Return the same for the value of ``stream_options``.

    :raises ValueError: it is not an object, or has too many members.
    """
    members = scan(options)[0]
    values = [(each, options[each.value : each.end]) for each in members]
    if any(each.key == _CONTINUOUS and value not in _NOT_ASKED for each, value in values):
        return None
    asked = [(each, value) for each, value in values if each.key == _INCLUDE]
    if not asked:
        end = len(options) - 1
        return end, end, b"," + _ASKED if members else _ASKED
    if len(asked) > 1 or asked[0][1] not in _NOT_ASKED:
        return None
    return asked[0][0].value, asked[0][0].end, b"true"
