"""The last gate: the only code that writes captures, after it has checked every byte."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.rigs.live.forms import Needles, dense
from tests.rigs.live.key import Key

LEAST_NOTED = 8
_LONG_NUMBER = 9
_KEPT_ENDS = 64

# Patterns that must not occur in a capture, whoever owns the value; a capture needs none of them.
PATTERNS: Mapping[str, re.Pattern[bytes]] = {
    "something like a key": re.compile(rb"(?i)\bc[pa]k_[a-z0-9]"),
    "something like a bearer token": re.compile(rb"(?i)bearer\s+(?:(?=\S*\d)\S{6,}|\S{20,})"),
    "something like a JWT": re.compile(rb"eyJ[A-Za-z0-9_-]{5,}"),
    "a UUID": re.compile(
        rb"(?i)(?<![0-9a-z])[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"
    ),
    "a long hexadecimal number": re.compile(rb"(?i)(?<![a-z0-9])(?=[a-f]*[0-9])[0-9a-f]{16,}"),
    "an ss58 address": re.compile(rb"(?<![A-Za-z0-9])[1-9A-HJ-NP-Za-km-z]{46,50}(?![A-Za-z0-9])"),
    "a long random-looking string": re.compile(
        rb"(?<![A-Za-z0-9])(?=[A-Za-z]*[0-9])[A-Za-z0-9+=]{20,}"
    ),
    "an e-mail address": re.compile(rb"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+\.[A-Za-z]{2,}"),
    "an IP address": re.compile(
        rb"(?i)(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])"
        rb"|(?<![\w:])(?:[0-9a-f]{1,4}:){3,7}[0-9a-f]{1,4}(?![\w:])"
        rb"|(?<![\w:])[0-9a-f]{1,4}(?::[0-9a-f]{1,4})*::[0-9a-f]{1,4}"
    ),
}


class LeakError(Exception):
    """A file must not be written. The message names the place and kind, never the value."""

    def __init__(self, name: str, kind: str) -> None:
        super().__init__(f"{name}: {kind} would have been written; nothing was")


class Gate:
    """Holds the secrets of a run and rejects files that contain one.

    `own_words` are texts of the run from before its first call. They are not secrets, except for
    parts of the key.
    """

    def __init__(self, key: Key | None, folder: Path, own_words: str = "") -> None:
        self._folder = folder
        self._key = Needles(key.parts() if key is not None else ())
        self._own_words = own_words.encode().lower()
        self._noted: set[bytes] = set()

    def note(self, hidden: str) -> None:
        """Add a value that was classified as secret; every later file is checked for it."""
        data = hidden.encode("utf-8", "surrogatepass").lower()
        for piece in (data,) if len(data) <= 2 * _KEPT_ENDS else _ends(data):
            if _is_distinctive(piece) and piece not in self._own_words:
                self._noted.add(piece)

    def inspect(self, name: str, data: bytes) -> None:
        """Raise LeakError if `data` must not be written; `name` is the name of the file."""
        if self._key.found(data):
            raise LeakError(name, "the key or a part of it")
        folded = data.lower()
        solid = dense(folded)
        for hidden in self._noted:
            bare = dense(hidden)
            if hidden in folded or (len(bare) >= 12 and bare in solid):
                raise LeakError(name, "a value classified as secret")
        for kind, pattern in PATTERNS.items():
            if pattern.search(data):
                raise LeakError(name, kind)

    def clear(self, names: Iterable[str]) -> None:
        """Delete these files of an earlier run, which could be mistaken for this run's."""
        for name in names:
            (self._folder / name).unlink(missing_ok=True)

    def write(self, name: str, data: bytes) -> Path:
        """Check and write a file of the run; if the check raises LeakError, write nothing."""
        self.inspect(name, data)
        self.inspect(name, name.encode())
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / name
        path.write_bytes(data)
        return path


def _ends(data: bytes) -> tuple[bytes, bytes]:
    return data[:_KEPT_ENDS], data[-_KEPT_ENDS:]


def _is_distinctive(piece: bytes) -> bool:
    """Return whether the value is long enough to differ from an ordinary word or number."""
    if len(piece) < LEAST_NOTED:
        return False
    digits = sum(48 <= byte <= 57 for byte in piece)
    letters = any(97 <= byte <= 122 for byte in piece)
    return letters or digits >= _LONG_NUMBER
