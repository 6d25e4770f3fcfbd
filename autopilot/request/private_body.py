"""The body of a private request: what an instance would not understand is refused or applied here.

Sealed, it reaches the engine as it is: nothing of the platform's own treatment happens on the way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Raw, structs

from autopilot.request.body import BodyTemplate, ParsedBody
from autopilot.request.conversation import Conversation
from autopilot.request.json_scan import Member, scan, without_surrogates
from autopilot.routing.names import THINKING
from autopilot.routing.private_mode import unsupported
from autopilot.routing.router_error import RouterError

_RESPONSE_KEY: Final = "e2e_response_pk"
_KEY_TEXT: Final = _RESPONSE_KEY.encode()
_LETTER_AS_ESCAPE: Final = b"\\u00"
_KWARGS: Final = "chat_template_kwargs"
_SWITCHES: Final = ("thinking", "enable_thinking")
_BOOLEANS: Final = (b"true", b"false")
_END: Final = re.compile(rb"\}[ \t\r\n]*+\Z")
_ABSENT: Final = Raw()

_OWN_KEY: Final = unsupported(
    "The body has the member 'e2e_response_pk', to which the router alone gives a value: the answer"
    " would be encrypted to whoever holds that key. Leave it out.",
    _RESPONSE_KEY,
)
_STREAM: Final = unsupported(
    "In private mode 'stream' must be true, false or null: an instance takes any other value for"
    " true or false in its own way. Send a boolean.",
    "stream",
)
_REMOTE: Final = unsupported(
    "The messages have an image, a video or an audio by its URL, and an instance fetches nothing."
    " Inline it as a data: URI.",
    "messages",
)


class _Own(msgspec.Struct, gc=False):
    e2e_response_pk: Raw = _ABSENT


_own = msgspec.json.Decoder(_Own)


class SealableBody(BodyTemplate, frozen=True, gc=False):
    """The body of a private request, in which the suffix that turns on thinking is applied.

    ``thinking``: a header field has turned it on, for whatever model.
    """

    thinking: bool = False

    def pieces(self, model: str) -> Sequence[bytes | memoryview]:
        """See `BodyTemplate`; the engine's own name has no suffix."""
        name = model.removesuffix(THINKING)
        pieces = BodyTemplate.pieces(self, name)
        if name == model and not self.thinking:
            return pieces
        return (_with_thinking(b"".join(pieces)),)


def sealable(parsed: ParsedBody, body: bytes, *, thinking: bool) -> ParsedBody | RouterError:
    """Return a request that can be sealed, or the error 400 ``private_unsupported``.

    ``parsed`` is from ``body``. ``thinking``: a header field turns it on.
    """
    if _has_own_key(body):
        return _OWN_KEY
    stream = bytes(parsed.fields.stream)
    if stream and stream not in _BOOLEANS:
        return _STREAM
    if Conversation(body, parsed.fields.messages).has_remote_parts():
        return _REMOTE
    given = parsed.template
    template = SealableBody(given.whole, given.start, given.end, given.size, thinking)
    return structs.replace(parsed, template=template)


def _has_own_key(body: bytes) -> bool:
    """Return whether the body has the member for the response key, however it is spelled."""
    if _KEY_TEXT not in body and _LETTER_AS_ESCAPE not in body:
        return False  # the usual case, for a tenth of the cost
    try:
        return bool(_own.decode(body).e2e_response_pk)
    except (ValueError, RecursionError):  # half of a surrogate pair, or a value nested very deeply
        return any(each.key == _RESPONSE_KEY for each in scan(without_surrogates(body))[0])


def _with_thinking(body: bytes) -> bytes:
    """Return a body whose template's arguments turn on thinking; the caller's own ones stay.

    Of several equal members the last one counts. One that is no object is for the engine to judge.
    """
    last = _last(scan(body)[0], _KWARGS)
    if last is None:
        added = b',"%b":{%b}' % (_KWARGS.encode(), _switched(_SWITCHES))
        return _inserted(body, added)
    given = body[last.value : last.end]
    if given == b"null":
        arguments = b"{%b}" % _switched(_SWITCHES)
    elif given.startswith(b"{"):
        arguments = _with_switches(given)
    else:
        return body
    return body[: last.value] + arguments + body[last.end :]


def _with_switches(arguments: bytes) -> bytes:
    """Return an object with both switches on."""
    members = scan(arguments)[0]
    missing = [name for name in _SWITCHES if _last(members, name) is None]
    # From the end, so that the offsets of those before stay.
    for each in reversed(members):
        if each.key in _SWITCHES:
            arguments = arguments[: each.value] + b"true" + arguments[each.end :]
    if not missing:
        return arguments
    return _inserted(arguments, (b"," if members else b"") + _switched(missing))


def _inserted(whole: bytes, text: bytes) -> bytes:
    """Return an object with ``text`` before its final brace."""
    end = _END.search(whole)
    assert end is not None
    return whole[: end.start()] + text + whole[end.start() :]


def _switched(names: Sequence[str]) -> bytes:
    return b",".join(b'"%b":true' % name.encode() for name in names)


def _last(members: Sequence[Member], key: str) -> Member | None:
    found: Iterator[Member] = (each for each in reversed(members) if each.key == key)
    return next(found, None)
