"""The plain kinds of value a setting can have: how each is read, checked and shown.

A kind reads the text of an environment variable or option (``parse``), checks a value that an
embedding application gave directly (``check``) and writes a value as text that ``parse`` reads
back (``show``). Whatever is wrong is a ``ValueError`` whose text says what is wrong and what to do.
This module knows neither the settings' names nor where a text came from.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from math import isfinite
from typing import Protocol

_WORDS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


class Type(Protocol):
    """What the settings table needs of a kind."""

    @property
    def expected(self) -> str:
        """What a good value looks like, in a few words, for ``--help``."""

    def parse(self, text: str) -> object:
        """The value that `text` (not empty, no blanks around it) stands for, or ``ValueError``."""

    def check(self, value: object) -> object:
        """`value` in its canonical form, or ``ValueError``."""

    def show(self, value: object) -> str:
        """Text that ``parse`` would read as `value`; empty for a value that is not set."""


def quoted(value: object) -> str:
    """`value` as it can stand in one line of a terminal or log: escaped, and cut when long."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:56]}...{text[-1]}"


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number within limits, both included."""

    low: int
    high: int
    unit: str = ""

    @property
    def expected(self) -> str:
        """The limits and the unit."""
        return f"{self.low} to {self.high}{' ' if self.unit else ''}{self.unit}"

    def parse(self, text: str) -> object:
        """Decimal digits only: no sign but minus, no separators, no exponent."""
        if not re.fullmatch(r"-?[0-9]{1,30}", text):
            raise ValueError(f"{quoted(text)} is not a whole number; give {self.expected}")
        return self.check(int(text))

    def check(self, value: object) -> object:
        """An ``int`` (and no ``bool``) within the limits."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{quoted(value)} is not a whole number; give {self.expected}")
        if not self.low <= value <= self.high:
            raise ValueError(f"{value} is out of range; give {self.expected}")
        return value

    def show(self, value: object) -> str:
        """The number."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Fraction:
    """A part of the whole: a number from 0 to 1."""

    @property
    def expected(self) -> str:
        """The limits."""
        return "0.0 to 1.0"

    def parse(self, text: str) -> object:
        """A plain decimal number."""
        if not re.fullmatch(r"-?[0-9]{0,9}(\.[0-9]{1,18})?", text) or text == "-":
            raise ValueError(f"{quoted(text)} is not a number; give {self.expected}")
        return self.check(float(text))

    def check(self, value: object) -> object:
        """A finite ``float`` or ``int`` within the limits, as ``float``."""
        if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
            raise ValueError(f"{quoted(value)} is not a number; give {self.expected}")
        if not 0 <= value <= 1:
            raise ValueError(f"{value} is out of range; give {self.expected}")
        return float(value)

    def show(self, value: object) -> str:
        """The number."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Boolean:
    """Yes or no."""

    @property
    def expected(self) -> str:
        """The two words people should write."""
        return "true or false"

    def parse(self, text: str) -> object:
        """true/false, 1/0, yes/no, on/off, in any case."""
        word = _WORDS.get(text.lower())
        if word is None:
            raise ValueError(f"{quoted(text)} is neither yes nor no; give {self.expected}")
        return word

    def check(self, value: object) -> object:
        """A ``bool``."""
        if not isinstance(value, bool):
            raise ValueError(f"{quoted(value)} is neither yes nor no; give {self.expected}")
        return value

    def show(self, value: object) -> str:
        """The word."""
        return "true" if value else "false"


@dataclass(frozen=True, slots=True)
class ExtraSwitch(Boolean):
    """Yes or no, and yes only with a package that an extra brings."""

    extra: str
    package: str

    def check(self, value: object) -> object:
        """A ``bool``, and something to go with it."""
        # Two arguments: a dataclass with slots is not the class that `super()` knows.
        on = super(ExtraSwitch, self).check(value)
        if on and not _installed(self.package):
            raise ValueError(
                f"true takes packages that are not installed: pip install "
                f"'chutes-autopilot[{self.extra}]'"
            )
        return on


def _installed(package: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version  # takes 20 ms

    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


class Choice:
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self.words = words

    @property
    def expected(self) -> str:
        """The words."""
        return f"{', '.join(self.words[:-1])} or {self.words[-1]}"

    def parse(self, text: str) -> object:
        """One of the words, in any case."""
        return self.check(text.lower())

    def check(self, value: object) -> object:
        """One of the words."""
        if value not in self.words:
            raise ValueError(f"{quoted(value)} is not known; give {self.expected}")
        return value

    def show(self, value: object) -> str:
        """The word."""
        return str(value)


def items_of(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated list, without blanks, empty parts and repetitions."""
    parts = (part.strip(" \t") for part in text.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


@dataclass(frozen=True, slots=True)
class Names:
    """Names separated by commas, at least one."""

    @property
    def expected(self) -> str:
        """The form of the list."""
        return "names separated by commas"

    def parse(self, text: str) -> object:
        """The names, in the given order."""
        return self.check(items_of(text))

    def check(self, value: object) -> object:
        """A tuple of names without commas, blanks and control characters."""
        if not isinstance(value, tuple) or not value:
            raise ValueError(f"no name in {quoted(value)}; give {self.expected}")
        for item in value:
            if not isinstance(item, str) or not re.fullmatch(r"[\x21-\x2b\x2d-\x7e]+", item):
                raise ValueError(f"{quoted(item)} is not a name; give {self.expected}")
        return value

    def show(self, value: object) -> str:
        """The list."""
        return ",".join(value) if isinstance(value, tuple) else ""


@dataclass(frozen=True, slots=True)
class ReadableFile:
    """The path of a file that exists and can be read, or ``None``."""

    @property
    def expected(self) -> str:
        """The form of the path."""
        return "path of a readable file"

    def parse(self, text: str) -> object:
        """The same as ``check``."""
        return self.check(text)

    def check(self, value: object) -> object:
        """The path, looked at now: a mistyped one must not wait for the first connection."""
        if value is None:
            return None
        if not isinstance(value, str) or "\0" in value or not os.path.isfile(value):
            raise ValueError(f"{quoted(value)} is not a file; give the {self.expected}")
        if not os.access(value, os.R_OK):
            raise ValueError(f"{quoted(value)} may not be read; give the {self.expected}")
        return value

    def show(self, value: object) -> str:
        """The path, or nothing."""
        return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Key:
    """A secret for a keyed hash, as long as BLAKE2b allows; never repeated in a complaint."""

    longest: int = 64

    @property
    def expected(self) -> str:
        """The length."""
        return f"1 to {self.longest} bytes of text"

    def parse(self, text: str) -> object:
        """The text as UTF-8."""
        try:
            return self.check(text.encode())
        except UnicodeEncodeError:
            # `from None`: the original exception carries the secret in its arguments.
            raise ValueError(f"the key is not UTF-8; give {self.expected}") from None

    def check(self, value: object) -> object:
        """Bytes of a usable length, or ``None``."""
        if value is None:
            return None
        if not isinstance(value, bytes):
            raise ValueError(f"the key is not bytes; give {self.expected}")
        if not 1 <= len(value) <= self.longest:
            raise ValueError(f"the key has {len(value)} bytes; give {self.expected}")
        return value

    def show(self, value: object) -> str:
        """The text; only for values that may be shown, so never for this kind's real ones."""
        return value.decode(errors="replace") if isinstance(value, bytes) else ""
