"""What of an answer may be told. Everything that is not allowed here is hidden.

Words may be told, in the few places where words are expected. What has a digit in it, or looks
like nothing in a dictionary, is hidden: ids, addresses, amounts, times and keys all do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

HIDDEN = "<hidden>"
MODEL = "{model}"
LONGEST_TEXT = 300

# Headers whose values say nothing about anybody.
HARMLESS = frozenset({
    "access-control-allow-credentials", "access-control-allow-headers",
    "access-control-allow-methods", "allow", "cache-control", "connection", "content-encoding",
    "content-type", "keep-alive", "pragma", "server", "transfer-encoding", "vary", "via",
    "www-authenticate", "x-accel-buffering", "x-chutes-autopilot-attempts",
    "x-chutes-invoice-billing", "x-content-type-options", "x-frame-options", "x-should-retry",
})  # fmt: skip
# Not told either, but no secret: noting them would make secrets of our own dates and lengths.
DULL = frozenset({"age", "content-length", "date", "expires", "last-modified", "retry-after"})

_VALUE = re.compile(r"(?!.*\d\.\d+\.\d+\.)[A-Za-z0-9 ,;=*/._-]{0,80}")
_TOKEN = re.compile(r"[^\s,;:()\[\]{}<>\"'`|=!?$]+")
_CAMEL = re.compile(r"(?:[A-Z]?[a-z]{2,14}){1,3}|[A-Z][a-z]|[A-Z]{2,12}|[aAIstxX]")
_HEXADECIMAL = re.compile(r"[a-fA-F]{6,}")
_SPAN = re.compile(r"[a-z]{0,4}[0-9]{1,3}[a-z]{0,2}|")


def plain_word(word: str) -> bool:
    """Whether these are letters in an order of which words are made."""
    return bool(len(word) <= 20 and _CAMEL.fullmatch(word) and not _HEXADECIMAL.fullmatch(word))


class Redactor:
    """Tells what may be told of one side's answers, and hands what it hides to `note`.

    `names` are those of the models: a public matter, but not the same on both sides.
    """

    def __init__(self, note: Callable[[str], None], names: Iterable[str] = ()) -> None:
        self._note = note
        self._models: re.Pattern[str] | None = None
        self.know(names)

    def know(self, names: Iterable[str]) -> None:
        """Write each of these names as the same mark."""
        longest = sorted(filter(None, names), key=len, reverse=True)
        self._models = re.compile("|".join(map(re.escape, longest))) if longest else None

    def text(self, text: str) -> str:
        """A sentence with everything but its words hidden."""
        pieces = self._models.split(text) if self._models else [text]
        told = MODEL.join(_TOKEN.sub(self._token, each) for each in pieces)
        shown = "".join(each if " " <= each <= "~" else "?" for each in told)
        return shown if len(shown) <= LONGEST_TEXT else shown[:LONGEST_TEXT] + "…"

    def name(self, name: str) -> str:
        """A member's or header's name, when it is made of words."""
        words = re.split(r"[_.-]", name)
        if all(plain_word(each) or _SPAN.fullmatch(each) for each in words) and len(name) <= 60:
            return name
        self._note(name)
        return HIDDEN

    def header(self, name: str, value: str) -> str:
        """A header's value, or what kind of value it is."""
        lower = name.lower()
        if lower in HARMLESS and _VALUE.fullmatch(value) and self._words_only(value):
            return value
        if lower == "retry-after" and value.isdigit() and len(value) <= 5:
            return value
        if lower not in DULL:
            self._note(value)
            self.hide(value)
        return f"<redacted {_kind(value)}, {len(value)} characters>"

    def hide(self, value: str) -> None:
        """Hold a value to be secret: each part of it that is not a word."""
        for match in _TOKEN.finditer(value):
            if not self._words(match[0].strip(".-/")):
                self._note(match[0])

    def _token(self, match: re.Match[str]) -> str:
        token = match[0]
        bare = token.strip(".-/")
        if not bare or self._words(bare):
            return token
        self._note(bare)
        return token.replace(bare, HIDDEN, 1)

    def _words(self, token: str) -> bool:
        return all(plain_word(each) for each in re.split(r"[-/._]", token))

    def _words_only(self, value: str) -> bool:
        """Whether a harmless header's value is made of words and short numbers."""
        return all(
            plain_word(piece) or len(piece) <= 4 for piece in re.split(r"[^A-Za-z0-9]+", value)
        )


def _kind(value: str) -> str:
    if value.isdigit():
        return "number"
    if re.fullmatch(r"[0-9a-fA-F-]{36}", value):
        return "UUID"
    if re.fullmatch(r"[0-9a-fA-F]+", value):
        return "hexadecimal"
    return "text"
