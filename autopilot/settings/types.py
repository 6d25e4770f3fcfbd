"""The types of setting without network names: how each is parsed, checked and shown.

A type reads the text of an environment variable or option (``parse``), checks a value that an
embedding application passes (``check``), and writes a value as text that ``parse`` accepts
(``show``). Every error is a ``ValueError`` that names the problem and the remedy. This module knows
neither the names of the settings nor the origin of a text.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from math import isfinite
from typing import Final, Protocol

_WORDS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


class Type(Protocol):
    """The interface between the settings table and a type of setting."""

    @property
    def expected(self) -> str:
        """The form of a valid value, in a few words, for ``--help``."""

    def parse(self, text: str) -> object:
        """Return the value of `text`, which is not empty and has no surrounding blanks.

        :raises ValueError: `text` is not valid.
        """

    def check(self, value: object) -> object:
        """Return `value` in canonical form.

        :raises ValueError: `value` is not valid.
        """

    def show(self, value: object) -> str:
        """Return text that ``parse`` would accept; empty for a value that is not set."""


def quoted(value: object) -> str:
    """Return `value` for one line of a terminal or log: escaped, and shortened if long."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:56]}...{text[-1]}"


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer within limits, both inclusive."""

    low: int
    high: int
    unit: str = ""

    @property
    def expected(self) -> str:
        """The limits and the unit."""
        return f"{self.low} to {self.high}{' ' if self.unit else ''}{self.unit}"

    def parse(self, text: str) -> object:
        """Parse decimal digits with an optional minus; no plus, separators or exponent."""
        if not re.fullmatch(r"-?[0-9]{1,30}", text):
            raise ValueError(f"{quoted(text)} is not a whole number; give {self.expected}")
        return self.check(int(text))

    def check(self, value: object) -> object:
        """Accept an ``int``, but not a ``bool``, within the limits."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{quoted(value)} is not a whole number; give {self.expected}")
        if not self.low <= value <= self.high:
            raise ValueError(f"{value} is out of range; give {self.expected}")
        return value

    def show(self, value: object) -> str:
        """Return the digits."""
        return str(value)


@dataclass(frozen=True, slots=True)
class ZeroOr(Integer):
    """Zero, which turns something off, or an integer within limits."""

    @property
    def expected(self) -> str:
        """Zero, the limits and the unit."""
        return f"0 or {super(ZeroOr, self).expected}"

    def check(self, value: object) -> object:
        """Accept zero, or an ``int`` within the limits."""
        if isinstance(value, int) and not isinstance(value, bool) and value == 0:
            return value
        return super(ZeroOr, self).check(value)


AUTO: Final = "auto"
"""The word for a number that the router chooses itself."""


@dataclass(frozen=True, slots=True)
class CountOrAuto(Integer):
    """An integer within limits, or `AUTO`."""

    @property
    def expected(self) -> str:
        """The word and the limits."""
        return f"{AUTO} or {self.low} to {self.high}"

    def parse(self, text: str) -> object:
        """Parse the word, in any case, or digits."""
        # `slots=True` makes the decorator build a second class, to which a bare `super()` does not
        # refer.
        return AUTO if text.lower() == AUTO else super(CountOrAuto, self).parse(text)

    def check(self, value: object) -> object:
        """Accept the word, or an ``int`` within the limits."""
        return value if value == AUTO else super(CountOrAuto, self).check(value)


OFF: Final = "off"
"""The word that turns a limit off."""


@dataclass(frozen=True, slots=True)
class CountOrWord(Integer):
    """An integer within limits, `AUTO`, or `OFF`."""

    @property
    def expected(self) -> str:
        """The words, the limits and the unit."""
        return f"{AUTO}, {OFF} or {super(CountOrWord, self).expected}"

    def parse(self, text: str) -> object:
        """Parse a word, in any case, or digits."""
        word = text.lower()
        return word if word in (AUTO, OFF) else super(CountOrWord, self).parse(text)

    def check(self, value: object) -> object:
        """Accept a word, or an ``int`` within the limits."""
        return value if value in (AUTO, OFF) else super(CountOrWord, self).check(value)


@dataclass(frozen=True, slots=True)
class Fraction:
    """A number from 0 to 1."""

    @property
    def expected(self) -> str:
        """The limits."""
        return "0.0 to 1.0"

    def parse(self, text: str) -> object:
        """Parse a plain decimal number."""
        if not re.fullmatch(r"-?[0-9]{0,9}(\.[0-9]{1,18})?", text) or text == "-":
            raise ValueError(f"{quoted(text)} is not a number; give {self.expected}")
        return self.check(float(text))

    def check(self, value: object) -> object:
        """Accept a finite ``float`` or ``int`` within the limits, and return a ``float``."""
        if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
            raise ValueError(f"{quoted(value)} is not a number; give {self.expected}")
        if not 0 <= value <= 1:
            raise ValueError(f"{value} is out of range; give {self.expected}")
        return float(value)

    def show(self, value: object) -> str:
        """Return the number as text."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Boolean:
    """A yes-or-no value."""

    @property
    def expected(self) -> str:
        """The two canonical words."""
        return "true or false"

    def parse(self, text: str) -> object:
        """Parse true/false, 1/0, yes/no or on/off, in any case."""
        word = _WORDS.get(text.lower())
        if word is None:
            raise ValueError(f"{quoted(text)} is neither yes nor no; give {self.expected}")
        return word

    def check(self, value: object) -> object:
        """Accept a ``bool``."""
        if not isinstance(value, bool):
            raise ValueError(f"{quoted(value)} is neither yes nor no; give {self.expected}")
        return value

    def show(self, value: object) -> str:
        """Return the canonical word."""
        return "true" if value else "false"


@dataclass(frozen=True, slots=True)
class ExtraSwitch(Boolean):
    """A yes-or-no value whose yes requires a package from one of this project's extras."""

    extra: str
    package: str

    def check(self, value: object) -> object:
        """Accept a ``bool``, but True only if the package is installed."""
        # `slots=True` makes the decorator build a second class, to which a bare `super()` does not
        # refer.
        on = super(ExtraSwitch, self).check(value)
        if on and not _installed(self.package):
            raise ValueError(
                f"true requires packages that are not installed; run pip install "
                f"'chutes-autopilot[{self.extra}]'"
            )
        return on


def _installed(package: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version  # its import takes 20 ms

    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


class Choice:
    """One word of a fixed set."""

    def __init__(self, *words: str) -> None:
        self.words = words

    @property
    def expected(self) -> str:
        """The words."""
        return f"{', '.join(self.words[:-1])} or {self.words[-1]}"

    def parse(self, text: str) -> object:
        """Parse one of the words, in any case."""
        return self.check(text.lower())

    def check(self, value: object) -> object:
        """Accept one of the words."""
        if value not in self.words:
            raise ValueError(f"{quoted(value)} is not known; give {self.expected}")
        return value

    def show(self, value: object) -> str:
        """Return the word."""
        return str(value)


def items_of(text: str) -> tuple[str, ...]:
    """Split a comma-separated list; drop blanks around items, empty items and duplicates."""
    parts = (part.strip(" \t") for part in text.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


@dataclass(frozen=True, slots=True)
class Names:
    """A non-empty list of names separated by commas."""

    @property
    def expected(self) -> str:
        """The form of the list."""
        return "names separated by commas"

    def parse(self, text: str) -> object:
        """Parse the names, in the given order."""
        return self.check(items_of(text))

    def check(self, value: object) -> object:
        """Accept a tuple of printable ASCII names without commas or blanks."""
        if not isinstance(value, tuple) or not value:
            raise ValueError(f"no name in {quoted(value)}; give {self.expected}")
        for item in value:
            if not isinstance(item, str) or not re.fullmatch(r"[\x21-\x2b\x2d-\x7e]+", item):
                raise ValueError(f"{quoted(item)} is not a name; give {self.expected}")
        return value

    def show(self, value: object) -> str:
        """Return the names, separated by commas."""
        return ",".join(value) if isinstance(value, tuple) else ""


@dataclass(frozen=True, slots=True)
class ReadableFile:
    """The path of an existing, readable file, or ``None``."""

    @property
    def expected(self) -> str:
        """The form of the path."""
        return "path of a readable file"

    def parse(self, text: str) -> object:
        """Parse as ``check`` does."""
        return self.check(text)

    def check(self, value: object) -> object:
        """Accept the path of a file that is readable now.

        The check runs at the start, so that a mistyped path does not show only at the first
        connection.
        """
        if value is None:
            return None
        if not isinstance(value, str) or "\0" in value or not os.path.isfile(value):
            raise ValueError(f"{quoted(value)} is not a file; give the {self.expected}")
        if not os.access(value, os.R_OK):
            raise ValueError(f"{quoted(value)} is not readable; give the {self.expected}")
        return value

    def show(self, value: object) -> str:
        """Return the path; empty if there is none."""
        return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class WritableFile:
    """The path of a file that can be replaced, or made, in a directory that exists; or ``None``."""

    @property
    def expected(self) -> str:
        """The form of the path."""
        return "path of a file in a directory that is writable"

    def parse(self, text: str) -> object:
        """Parse as ``check`` does."""
        return self.check(text)

    def check(self, value: object) -> object:
        """Accept the path of a file whose directory is writable now."""
        if value is None:
            return None
        if not isinstance(value, str) or "\0" in value or _is_no_file(value):
            raise ValueError(f"{quoted(value)} is no name of a file; give the {self.expected}")
        folder = os.path.dirname(os.path.realpath(value))
        if not os.path.isdir(folder):
            raise ValueError(f"{quoted(folder)} is no directory; give the {self.expected}")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ValueError(f"{quoted(folder)} is not writable; give the {self.expected}")
        return value

    def show(self, value: object) -> str:
        """Return the path; empty if there is none."""
        return "" if value is None else str(value)


def _is_no_file(path: str) -> bool:
    """Return whether a path is that of a directory, or of a device, which is not to be replaced."""
    return not os.path.basename(path) or (os.path.exists(path) and not os.path.isfile(path))


@dataclass(frozen=True, slots=True)
class HashKey:
    """A secret key for BLAKE2b; no error message ever quotes it."""

    longest: int = 64

    @property
    def expected(self) -> str:
        """The permitted length."""
        return f"1 to {self.longest} bytes of text"

    def parse(self, text: str) -> object:
        """Encode the text as UTF-8."""
        try:
            return self.check(text.encode())
        except UnicodeEncodeError:
            # `from None`, because the original exception holds the secret in its arguments.
            raise ValueError(f"the key is not UTF-8; give {self.expected}") from None

    def check(self, value: object) -> object:
        """Accept ``bytes`` of a permitted length, or ``None``."""
        if value is None:
            return None
        if not isinstance(value, bytes):
            raise ValueError(f"the key is not bytes; give {self.expected}")
        if not 1 <= len(value) <= self.longest:
            raise ValueError(f"the key has {len(value)} bytes; give {self.expected}")
        return value

    def show(self, value: object) -> str:
        """Return the text. No output shows it: settings of this type are marked as secret."""
        return value.decode(errors="replace") if isinstance(value, bytes) else ""
