"""The APIs a client can speak, as far as their streams and their errors differ."""

from __future__ import annotations

from enum import StrEnum


class Dialect(StrEnum):
    """The API of an endpoint: OpenAI's completions, Anthropic's messages, OpenAI's responses."""

    __hash__ = str.__hash__  # of an enum it is a call of Python

    COMPLETIONS = "completions"
    MESSAGES = "messages"
    RESPONSES = "responses"


MESSAGES_PATH = b"/v1/messages"
COUNT_TOKENS = b"/v1/messages/count_tokens"
"""The path of Anthropic's count of a request's tokens."""


def error_dialect(path: bytes) -> Dialect | None:
    """Return the dialect of errors at a path: Anthropic's at and below its endpoint, else None."""
    if path.startswith(MESSAGES_PATH) and path[len(MESSAGES_PATH) :][:1] in (b"", b"/"):
        return Dialect.MESSAGES
    return None
