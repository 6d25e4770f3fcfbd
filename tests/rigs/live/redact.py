"""Redaction by an allow-list: everything in a response that is not allowed is hidden.

Words are allowed in the few places that contain words. A text with a digit, or unlike any
dictionary word, is hidden: ids, addresses, amounts, times and keys all are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

HIDDEN = "<hidden>"
MODEL = "{model}"
LONGEST_TEXT = 300

# Headers with values that identify no account.
HARMLESS = frozenset({
    "access-control-allow-credentials", "access-control-allow-headers",
    "access-control-allow-methods", "allow", "cache-control", "connection", "content-encoding",
    "content-type", "keep-alive", "pragma", "server", "transfer-encoding", "vary", "via",
    "www-authenticate", "x-accel-buffering", "x-chutes-autopilot-attempts",
    "x-chutes-autopilot-cost",
    "x-chutes-invoice-billing", "x-content-type-options", "x-frame-options", "x-should-retry",
})  # fmt: skip
# Hidden as well, but not secret: noting them would turn dates and lengths into secrets.
DULL = frozenset({"age", "content-length", "date", "expires", "last-modified", "retry-after"})

_VALUE = re.compile(r"(?!.*\d\.\d+\.\d+\.)[A-Za-z0-9 ,;=*/._-]{0,80}")
_TOKEN = re.compile(r"[^\s,;:()\[\]{}<>\"'`|=!?$]+")
_CAMEL = re.compile(r"(?:[A-Z]?[a-z]{2,14}){1,3}|[A-Z][a-z]|[A-Z]{2,12}|[aAIstxX]")
_HEXADECIMAL = re.compile(r"[a-fA-F]{6,}")
_SPAN = re.compile(r"[a-z]{0,4}[0-9]{1,3}[a-z]{0,2}|")


def plain_word(word: str) -> bool:
    """Return whether the letters look like a word."""
    return bool(len(word) <= 20 and _CAMEL.fullmatch(word) and not _HEXADECIMAL.fullmatch(word))


class Redactor:
    """Redacts the responses of one side, and passes hidden values to `note`.

    `names` are names of models: public, but different on the two sides.
    """

    def __init__(self, note: Callable[[str], None], names: Iterable[str] = ()) -> None:
        self._note = note
        self._models: re.Pattern[str] | None = None
        self.know(names)

    def know(self, names: Iterable[str]) -> None:
        """Replace each of these names by the same placeholder."""
        longest = sorted(filter(None, names), key=len, reverse=True)
        self._models = re.compile("|".join(map(re.escape, longest))) if longest else None

    def text(self, text: str) -> str:
        """Return a sentence with everything but its words hidden."""
        pieces = self._models.split(text) if self._models else [text]
        told = MODEL.join(_TOKEN.sub(self._token, each) for each in pieces)
        shown = "".join(each if " " <= each <= "~" else "?" for each in told)
        return shown if len(shown) <= LONGEST_TEXT else shown[:LONGEST_TEXT] + "…"

    def name(self, name: str) -> str:
        """Return a member's or header's name if it consists of words."""
        words = re.split(r"[_.-]", name)
        if all(plain_word(each) or _SPAN.fullmatch(each) for each in words) and len(name) <= 60:
            return name
        self._note(name)
        return HIDDEN

    def header(self, name: str, value: str) -> str:
        """Return a header's value, or the kind of its value."""
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
        """Note a value as secret: each part of it that is not a word."""
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
        """Return whether a harmless header's value consists of words and short numbers."""
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
