"""Reads the few fields of an Intel TDX quote that can be looked at without verifying it.

A quote is a header, the report of a trust domain, and a signature over both. Nothing here looks at
the signature: whoever reads a quote this way knows what it says, not that it is true.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

_VERSION: Final = 4
_ECDSA_P256: Final = 2
_TDX: Final = 0x81
_DEBUG: Final = 1

_HEADER: Final = Struct("<HHI")
_REPORT: Final = 48
"""Where the report begins, after the header; offsets within it are those of Intel's format."""
_ATTRIBUTES: Final = _REPORT + 120
_REPORT_DATA: Final = _REPORT + 520
_SIGNATURE_SIZE: Final = Struct("<I")
_SIGNATURE: Final = _REPORT + 584 + _SIGNATURE_SIZE.size
_SHORTEST_SIGNATURE: Final = 128
"""An ECDSA signature and the key it was made with; the certificates come on top."""

_HASH: Final = 32


@dataclass(frozen=True, slots=True)
class Quote:
    """What a quote says of the machine that asked for it.

    ``nonce_hash`` and ``key_hash`` are the two halves of the report data. The platform puts a hash
    over the caller's nonce and the instance's public key into the first, and one of the public key
    of the instance's TLS certificate into the second.
    """

    debug: bool
    nonce_hash: bytes
    key_hash: bytes


def read_quote(data: bytes) -> Quote | None:
    """What ``data`` says, or None when it is not a whole TDX quote of version 4."""
    if len(data) < _SIGNATURE + _SHORTEST_SIGNATURE:
        return None
    if _HEADER.unpack_from(data) != (_VERSION, _ECDSA_P256, _TDX):
        return None
    (signature,) = _SIGNATURE_SIZE.unpack_from(data, _SIGNATURE - _SIGNATURE_SIZE.size)
    if not _SHORTEST_SIGNATURE <= signature <= len(data) - _SIGNATURE:
        return None
    return Quote(
        debug=bool(data[_ATTRIBUTES] & _DEBUG),
        nonce_hash=data[_REPORT_DATA : _REPORT_DATA + _HASH],
        key_hash=data[_REPORT_DATA + _HASH : _REPORT_DATA + 2 * _HASH],
    )
