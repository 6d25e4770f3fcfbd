"""The encodings in which a secret may occur in a file, and how a file is searched for them.

Each encoding is represented by short substrings, because a part of a secret must not leak either.
Files are searched with everything but letters and digits removed, so that dashes, blanks, quotes,
line ends and escapes between two characters hide nothing.
"""

from __future__ import annotations

import base64
import html
import re
import uuid
from collections.abc import Iterable, Iterator
from urllib.parse import unquote_to_bytes

WINDOW = 8
_BASE64_WINDOW = 12
_NOT_ALPHANUMERIC = re.compile(rb"[^A-Za-z0-9]+")
_ESCAPE = re.compile(rb"\\(?:u00([0-9a-fA-F]{2})|x([0-9a-fA-F]{2})|[nrtbf\"/\\])")


def dense(data: bytes) -> bytes:
    """Return the letters and digits only."""
    return _NOT_ALPHANUMERIC.sub(b"", data)


def views(data: bytes) -> Iterator[bytes]:
    """Return the bytes as they are, and with each common escaping undone."""
    yield data
    unescaped = _ESCAPE.sub(_character, data)
    yield unescaped
    yield unquote_to_bytes(unescaped)
    yield html.unescape(data.decode("latin-1")).encode("utf-8")


def _character(match: re.Match[bytes]) -> bytes:
    digits = match[1] or match[2]
    return bytes([int(digits, 16)]) if digits else b" "


class Needles:
    """The substrings by which some secrets are recognized."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._folded: set[bytes] = set()
        self._exact: set[bytes] = set()
        for secret in secrets:
            self._watch(secret)

    def found(self, data: bytes) -> bool:
        """Return whether the data contain a secret, or a part of one, in any encoding."""
        return any(self._in(view) for view in views(data))

    def _in(self, view: bytes) -> bool:
        solid = dense(view)
        folded = solid.lower()
        return any(each in folded for each in self._folded) or any(
            each in solid for each in self._exact
        )

    def _watch(self, secret: str) -> None:
        data = secret.encode()
        for text in (data, data[::-1]):
            self._folded.update(_windows(dense(text).lower(), WINDOW))
            self._exact.update(_base64(text))
            self._spelt(text)
        for raw in _binary(secret):
            self._exact.update(_base64(raw))
            self._folded.update(_windows(raw.hex().encode(), 2 * WINDOW, 2))
            self._folded.add(str(int.from_bytes(raw, "big")).encode())

    def _spelt(self, text: bytes) -> None:
        """Return the characters, each encoded as a number."""
        for start in range(max(1, len(text) - WINDOW + 1)):
            piece = text[start : start + WINDOW]
            for form in ("{:02x}", "x{:02x}", "u{:04x}", "{:d}", "{:o}", "{:08b}"):
                self._folded.add("".join(form.format(byte) for byte in piece).encode())
        for before in range(5):
            spelt = base64.b32encode(b"\0" * before + text).rstrip(b"=").lower()
            self._folded.update(_windows(spelt[8 if before else 0 : -2], _BASE64_WINDOW))


def _windows(text: bytes, width: int, step: int = 1) -> Iterator[bytes]:
    """Return every substring of that width, or the whole value if it is shorter."""
    for start in range(0, max(1, len(text) - width + 1), step):
        yield text[start : start + width]


def _base64(data: bytes) -> Iterator[bytes]:
    """Return the part of the Base64 encoding that does not depend on the bytes before and after."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data)
        inner = encoded[4 if before else 0 : len(encoded) // 4 * 4 - 4]
        for each in (inner, inner.translate(bytes.maketrans(b"+/", b"-_"))):
            solid = dense(each)
            if len(solid) >= WINDOW:
                yield from _windows(solid, _BASE64_WINDOW)


def _binary(secret: str) -> Iterator[bytes]:
    """Return the bytes of a hexadecimal secret in both byte orders of UUIDs."""
    if re.fullmatch(r"[0-9a-fA-F]{32}", secret):
        yield bytes.fromhex(secret)
        yield uuid.UUID(secret).bytes_le
