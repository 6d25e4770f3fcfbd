"""The last gate: the one place that writes captures, and that looks at every byte of them first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.rigs.live.forms import Needles, dense
from tests.rigs.live.key import Key

LEAST_NOTED = 8
_LONG_NUMBER = 9
_KEPT_ENDS = 64

# What must not stand in a capture whoever it belongs to. A capture has no use for any of it.
PATTERNS: Mapping[str, re.Pattern[bytes]] = {
    "something like a key": re.compile(rb"(?i)\bc[pa]k_[a-z0-9]"),
    "something like a bearer token": re.compile(rb"(?i)bearer\s+(?:(?=\S*\d)\S{6,}|\S{20,})"),
    "something like a JWT": re.compile(rb"eyJ[A-Za-z0-9_-]{5,}"),
    "a UUID": re.compile(
        rb"(?i)(?<![0-9a-z])[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"
    ),
    "a long hexadecimal number": re.compile(rb"(?i)(?<![a-z0-9])(?=[a-f]*[0-9])[0-9a-f]{16,}"),
    "an ss58 address": re.compile(rb"(?<![A-Za-z0-9])[1-9A-HJ-NP-Za-km-z]{46,50}(?![A-Za-z0-9])"),
    "a long run without meaning": re.compile(
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
    """Something must not be written. Says where and of what kind it is, never what it is."""

    def __init__(self, name: str, kind: str) -> None:
        super().__init__(f"{name}: {kind} would have been written; nothing was")


class Gate:
    """Knows every secret of a run and lets none of them through.

    `own_words` is what the run says before its first call: what stands there is no secret, unless
    it belongs to the key.
    """

    def __init__(self, key: Key | None, folder: Path, own_words: str = "") -> None:
        self._folder = folder
        self._key = Needles(key.parts() if key is not None else ())
        self._own_words = own_words.encode().lower()
        self._noted: set[bytes] = set()

    def note(self, hidden: str) -> None:
        """Something was held to be secret: from now on it is one, in every file."""
        data = hidden.encode("utf-8", "surrogatepass").lower()
        for piece in (data,) if len(data) <= 2 * _KEPT_ENDS else _ends(data):
            if _telling(piece) and piece not in self._own_words:
                self._noted.add(piece)

    def inspect(self, name: str, data: bytes) -> None:
        """Raises LeakError when `data` must not be seen; `name` is where it would have been."""
        if self._key.found(data):
            raise LeakError(name, "the key or a part of it")
        folded = data.lower()
        solid = dense(folded)
        for hidden in self._noted:
            bare = dense(hidden)
            if hidden in folded or (len(bare) >= 12 and bare in solid):
                raise LeakError(name, "a value classed as secret")
        for kind, pattern in PATTERNS.items():
            if pattern.search(data):
                raise LeakError(name, kind)

    def clear(self, names: Iterable[str]) -> None:
        """Remove these files of an earlier run: they would be taken for this one's."""
        for name in names:
            (self._folder / name).unlink(missing_ok=True)

    def write(self, name: str, data: bytes) -> Path:
        """Write a file of the run, after a last look; raises LeakError and writes nothing."""
        self.inspect(name, data)
        self.inspect(name, name.encode())
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / name
        path.write_bytes(data)
        return path


def _ends(data: bytes) -> tuple[bytes, bytes]:
    return data[:_KEPT_ENDS], data[-_KEPT_ENDS:]


def _telling(piece: bytes) -> bool:
    """Whether it is long enough to be told from an ordinary word or number."""
    if len(piece) < LEAST_NOTED:
        return False
    digits = sum(48 <= byte <= 57 for byte in piece)
    letters = any(97 <= byte <= 122 for byte in piece)
    return letters or digits >= _LONG_NUMBER
