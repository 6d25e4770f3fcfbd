"""A feed's body as it lies in the store: compressed, in pieces, under the hash of its bytes.

Both ways go in steps, because a body may have 16 MiB.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from hashlib import blake2b
from io import BytesIO
from typing import Final

from autopilot.routing.steps import Steps

PIECE_BYTES: Final = 1 << 18
"""The most bytes of one piece: a few milliseconds of a slow network."""

MAX_PIECES: Final = 128
"""More than a body of 16 MiB has that cannot be compressed."""

_STEP_BYTES: Final = 1 << 18
_LEVEL: Final = 1  # the feeds become a seventh; a higher level takes more time than it saves


def packing_steps(body: bytes) -> Steps[tuple[str, tuple[bytes, ...]]]:
    """Return the version of a body, which is a hash of it, and its pieces."""
    compressor, digest = zlib.compressobj(_LEVEL), _digest()
    packed, pieces = bytearray(), []
    view = memoryview(body)
    for start in range(0, len(body), _STEP_BYTES):
        if start:
            yield
        part = view[start : start + _STEP_BYTES]
        digest.update(part)
        packed += compressor.compress(part)
        if len(packed) >= PIECE_BYTES:
            pieces.append(bytes(packed[:PIECE_BYTES]))
            del packed[:PIECE_BYTES]
    packed += compressor.flush()
    pieces += [bytes(packed[at : at + PIECE_BYTES]) for at in range(0, len(packed), PIECE_BYTES)]
    return digest.hexdigest(), tuple(pieces)


def unpacking_steps(pieces: Sequence[bytes], version: str, size: int) -> Steps[bytes]:
    """Return the body of which these are the pieces.

    :raises ValueError: they are not those of a body of this version and size.
    """
    inflater, digest, body = zlib.decompressobj(), _digest(), BytesIO()
    for piece in pieces:
        rest = piece
        while rest:
            try:
                part = inflater.decompress(rest, _STEP_BYTES)
            except zlib.error:
                raise ValueError("a body in the store is not compressed data") from None
            rest = inflater.unconsumed_tail
            if body.tell() + len(part) > size or inflater.unused_data:
                raise ValueError("a body in the store is longer than its head says")
            digest.update(part)
            body.write(part)
            yield
    if not inflater.eof or body.tell() != size or digest.hexdigest() != version:
        raise ValueError("a body in the store is not the one that its head names")
    return body.getvalue()


def _digest() -> blake2b:
    return blake2b(digest_size=16)
