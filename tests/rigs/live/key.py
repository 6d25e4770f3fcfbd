"""The account's key, guarded against accidental output."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import NoReturn

VARIABLE = "CHUTES_API_KEY"

# The format of a key.
FAKE_KEY = "cpk_" + ".".join("0" * 32 for _ in range(3))

_SHAPE = re.compile(r"cpk_[A-Za-z0-9]{16,}(?:\.[A-Za-z0-9]{16,}){2}")


class NotAKeyError(ValueError):
    """The value cannot be a key; the message does not repeat it."""


class Key:
    """A bearer token, which only the named accessors reveal."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        text = text.strip()
        if not _SHAPE.fullmatch(text):
            # In other formats the account id cannot be located, so it could not be redacted.
            raise NotAKeyError(f"{VARIABLE} is not of the form cpk_….….…")
        self._text = text

    def bearer(self) -> str:
        """Return the value of an `Authorization` header."""
        return f"Bearer {self._text}"

    def other_scheme(self) -> str:
        """Return that value with another scheme."""
        return f"Token {self._text}"

    def api_key(self) -> str:
        """Return the value of an `X-API-Key` header."""
        return self._text

    def parts(self) -> tuple[str, ...]:
        """Return the key and its three parts; the second is the account id."""
        return (self._text, *self._text.removeprefix("cpk_").split("."))

    def __repr__(self) -> str:
        return "<Key>"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not copied or stored")


def take_key(environ: MutableMapping[str, str]) -> Key | None:
    """Take the key from the environment and remove it there; return None if there is none.

    Raise NotAKeyError if it is invalid.
    """
    text = environ.pop(VARIABLE, "")
    return Key(text) if text.strip() else None
