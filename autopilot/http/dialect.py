"""The APIs a client can speak, as far as their streams and their errors differ."""

from __future__ import annotations

from enum import StrEnum


class Dialect(StrEnum):
    """The API of an endpoint: OpenAI's completions, Anthropic's messages, OpenAI's responses."""

    COMPLETIONS = "completions"
    MESSAGES = "messages"
    RESPONSES = "responses"


MESSAGES_PATH = b"/v1/messages"
COUNT_TOKENS = b"/v1/messages/count_tokens"
"""The path of Anthropic's count of a request's tokens."""
