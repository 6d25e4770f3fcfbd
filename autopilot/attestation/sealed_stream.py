"""Decryption of a sealed event stream into the engine's own bytes, independent of chunk boundaries.

Only what opens under the stream's key is passed on; the rest of the stream is plain text that the
gateway could have written. A missing or a moved event cannot be noticed: the seal has no numbers.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from autopilot.attestation.sealing import (
    KEM_SIZE,
    NONCE_SIZE,
    TAG_SIZE,
    Purpose,
    ResponseKey,
    strict_base64,
)

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
REMEMBERED_NONCES: Final = 1024
"""Nonces of this many events are compared, which bounds the memory of a stream."""

_FIELD: Final = b"data:"
_SEALED: Final = b'{"e2e":"'
_SEALED_END: Final = b'"}'
_DONE: Final = b"[DONE]"
_LEAST: Final = NONCE_SIZE + TAG_SIZE
# A line that ends a stream is no longer than this.
_DONE_BYTES: Final = 32


class StreamFault(StrEnum):
    """Why a sealed stream is not complete, or must not go on."""

    TRUNCATED = "truncated"
    NO_INIT = "no_init"
    BAD_INIT = "bad_init"
    SECOND_INIT = "second_init"
    BAD_SEAL = "bad_seal"
    REPEATED = "repeated"
    TOO_LONG = "too_long"


class PlainEvent(StrEnum):
    """The kind of an event that is not sealed, and therefore not passed on."""

    DONE = "done"
    ERROR = "error"
    USAGE = "usage"
    OTHER = "other"


class _Event(Struct):
    e2e_init: Raw = Raw()
    e2e: Raw = Raw()
    e2e_error: Raw = Raw()
    error: Raw = Raw()
    usage: Raw = Raw()


_event = Decoder(_Event)
_text = Decoder(str)


class _StopError(Exception):
    def __init__(self, fault: StreamFault) -> None:
        self.fault = fault


class StreamOpener:
    """Opens one stream: `feed` it the bytes from the wire, and call `end` when there are no more.

    ``fault`` is None while the stream is sound. ``ended`` is true once the sealed ``[DONE]`` was
    returned; nothing is returned after it, nor after a fault.
    """

    __slots__ = (
        "_cipher",
        "_key",
        "_last",
        "_limit",
        "_line",
        "_nonces",
        "ended",
        "fault",
        "plain",
    )

    def __init__(self, key: ResponseKey, limit: int = MAX_LINE_BYTES) -> None:
        self.fault: StreamFault | None = None
        self.ended = False
        self.plain: Counter[PlainEvent] = Counter()
        self._key: ResponseKey | None = key
        self._cipher: ChaCha20Poly1305 | None = None
        self._limit = limit
        self._line = bytearray()
        self._last = _LastLine()
        # A dictionary keeps the order of insertion, so that the oldest can be dropped.
        self._nonces: dict[bytes, None] = {}

    def __repr__(self) -> str:
        return f"StreamOpener(ended={self.ended}, fault={self.fault})"

    def feed(self, data: bytes) -> bytes:
        """Return the plain bytes that ``data`` completes."""
        if self.fault is not None or self.ended:
            return b""
        *lines, rest = data.split(b"\n")
        opened: list[bytes] = []
        try:
            for line in lines:
                self._open_line(self._completed(line), opened)
                if self._last.done:
                    self.ended = True
                    self._close(None)
                    break
            else:
                self._keep(rest)
        except _StopError as stop:
            self._close(stop.fault)
        return b"".join(opened)

    def end(self) -> None:
        """Note that the peer closed: without the sealed ``[DONE]`` the stream is truncated."""
        if self.fault is None and not self.ended:
            self._close(StreamFault.TRUNCATED)

    def _close(self, fault: StreamFault | None) -> None:
        self.fault = fault
        self._key = self._cipher = None
        self._line.clear()
        self._nonces.clear()

    def _completed(self, line: bytes) -> bytes:
        if self._line:
            line = bytes(self._line + line)
            self._line.clear()
        if len(line) > self._limit:
            raise _StopError(StreamFault.TOO_LONG)
        return line

    def _keep(self, rest: bytes) -> None:
        if len(self._line) + len(rest) > self._limit:
            raise _StopError(StreamFault.TOO_LONG)
        self._line += rest

    def _open_line(self, line: bytes, opened: list[bytes]) -> None:
        """Append the plain bytes of a line, if it is a sealed event."""
        if not line.startswith(_FIELD):
            return
        value = line[len(_FIELD) :].strip(b" \r")
        text = value[len(_SEALED) : -len(_SEALED_END)]
        # No base64 has a quote or an escape, so that this is the whole value.
        if (
            value.startswith(_SEALED)
            and value.endswith(_SEALED_END)
            and b'"' not in text
            and b"\\" not in text
        ):
            piece: bytes | None = self._open(text)
        else:
            piece = self._open_event(value)
        if piece is not None:
            opened.append(self._last.admit(piece))

    def _open_event(self, value: bytes) -> bytes | None:
        """Return the plain bytes of an event in an unusual spelling; None if it is not sealed."""
        if value == _DONE:
            self.plain[PlainEvent.DONE] += 1
            return None
        if not value:
            return None
        try:
            event = _event.decode(value)
        except (DecodeError, UnicodeDecodeError, RecursionError):
            self.plain[PlainEvent.OTHER] += 1
            return None
        if event.e2e_init:
            self._begin(_string(event.e2e_init))
            return None
        if event.e2e:
            return self._open(_string(event.e2e))
        self.plain[_kind(event)] += 1
        return None

    def _begin(self, text: bytes) -> None:
        if self._key is None:
            raise _StopError(StreamFault.SECOND_INIT)
        try:
            kem_ciphertext = strict_base64(text)
            if len(kem_ciphertext) != KEM_SIZE:
                raise ValueError
            self._cipher = self._key.cipher(kem_ciphertext, Purpose.STREAM)
        except ValueError:
            raise _StopError(StreamFault.BAD_INIT) from None
        self._key = None

    def _open(self, text: bytes) -> bytes:
        cipher = self._cipher
        if cipher is None:
            raise _StopError(StreamFault.NO_INIT)
        try:
            sealed = strict_base64(text)
            if len(sealed) < _LEAST:
                raise ValueError
            nonce = sealed[:NONCE_SIZE]
            opened = cipher.decrypt(nonce, sealed[NONCE_SIZE:], None)
        except (InvalidTag, ValueError):
            raise _StopError(StreamFault.BAD_SEAL) from None
        nonces = self._nonces
        if nonce in nonces:
            raise _StopError(StreamFault.REPEATED)
        if len(nonces) >= REMEMBERED_NONCES:
            del nonces[next(iter(nonces))]
        nonces[nonce] = None
        return opened


def _string(value: Raw) -> bytes:
    """Return a JSON string's text; of any other value what cannot be base64."""
    try:
        return _text.decode(value).encode()
    except (DecodeError, UnicodeError):
        return b"!"


def _kind(event: _Event) -> PlainEvent:
    if event.error or event.e2e_error:
        return PlainEvent.ERROR
    return PlainEvent.USAGE if event.usage else PlainEvent.OTHER


class _LastLine:
    """The search for ``data: [DONE]`` in the engine's bytes, which may be sealed in any pieces."""

    __slots__ = ("_head", "done")

    def __init__(self) -> None:
        self.done = False
        # The beginning of an incomplete line, or nothing at the beginning of a line.
        self._head = b""

    def admit(self, piece: bytes) -> bytes:
        """Return the part of a piece that belongs to the answer: all, unless it ends in it."""
        if not self._head and piece.endswith(b"\n") and _DONE not in piece:
            return piece
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            line = self._head + piece[start:end]
            self._head, start = b"", end + 1
            if _is_done(line):
                self.done = True
                # The blank line may be sealed apart, and arrive too late: it has one content.
                return piece[:start] + b"\n"
        # One byte too many, so that no cut line passes for the end.
        self._head = (self._head + piece[start : start + _DONE_BYTES + 1])[: _DONE_BYTES + 1]
        return piece


def _is_done(line: bytes) -> bool:
    if len(line) > _DONE_BYTES:
        return False
    return line.startswith(_FIELD) and line[len(_FIELD) :].strip(b" \r") == _DONE
