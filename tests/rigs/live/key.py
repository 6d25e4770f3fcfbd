"""The account's key, kept so that nothing shows it by accident."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import NoReturn

VARIABLE = "CHUTES_API_KEY"

# The shape of a key, and nobody's.
NOBODYS = "cpk_" + ".".join("0" * 32 for _ in range(3))

_SHAPE = re.compile(r"cpk_[A-Za-z0-9]{16,}(?:\.[A-Za-z0-9]{16,}){2}")


class NotAKeyError(ValueError):
    """What was given cannot be a key; it is not repeated here."""


class Key:
    """A bearer token. What gives it away is asked for by name."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        text = text.strip()
        if not _SHAPE.fullmatch(text):
            # Of anything else nobody knows where the account stands in it, to keep that out too.
            raise NotAKeyError(f"{VARIABLE} is not of the form cpk_….….…")
        self._text = text

    def bearer(self) -> str:
        """The value of an `Authorization` header."""
        return f"Bearer {self._text}"

    def other_scheme(self) -> str:
        """The same with another word before the key."""
        return f"Token {self._text}"

    def api_key(self) -> str:
        """The value of an `X-API-Key` header."""
        return self._text

    def parts(self) -> tuple[str, ...]:
        """The whole and its three parts; the second is the account's id."""
        return (self._text, *self._text.removeprefix("cpk_").split("."))

    def __repr__(self) -> str:
        return "<Key>"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not copied or stored")


def take_key(environ: MutableMapping[str, str]) -> Key | None:
    """The key from the environment, which then holds it no longer; None when there is none.

    Raises NotAKeyError.
    """
    text = environ.pop(VARIABLE, "")
    return Key(text) if text.strip() else None
