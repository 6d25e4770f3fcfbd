"""Parser of the Intel TDX quote fields that are meaningful without verification.

A quote consists of a header, a TD report and a signature over both. This module ignores the
signature: the result is what the quote claims, not whether it is true. `verification` checks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

# Values and offsets of Intel's TDX DCAP quote format, version 4: a header of 48 bytes, then the TD
# report body of 584 bytes, then the length of the signature and the signature.
_VERSION: Final = 4
_ECDSA_P256: Final = 2
_TDX: Final = 0x81
_DEBUG: Final = 1
ATTRIBUTES: Final = bytes.fromhex("0000001000000000")
"""The attributes of the platform's quotes: SEPT_VE_DISABLE, and nothing else."""

_HEADER: Final = Struct("<HHI")
_REPORT: Final = 48
"""Offset of the TD report, after the header."""
_ATTRIBUTES: Final = slice(_REPORT + 120, _REPORT + 128)
_MRTD: Final = slice(_REPORT + 136, _REPORT + 184)
_REGISTERS: Final = _REPORT + 328
_REGISTER_SIZE: Final = 48
_REGISTER_COUNT: Final = 4
_REPORT_DATA: Final = _REPORT + 520
_SIGNATURE_SIZE: Final = Struct("<I")
_SIGNATURE: Final = _REPORT + 584 + _SIGNATURE_SIZE.size
_SHORTEST_SIGNATURE: Final = 128
"""An ECDSA signature and its public key; the certificates come in addition."""

_HASH: Final = 32


@dataclass(frozen=True, slots=True)
class Quote:
    """The claims of a quote.

    ``mrtd`` measures the domain at its start, and ``rtmrs`` are its four registers since.
    ``nonce_hash`` and ``key_hash`` are the two halves of the report data. The platform puts a hash
    over the caller's nonce and the instance's public key into the first half, and the hash of the
    public key of the instance's TLS certificate into the second.
    """

    attributes: bytes
    mrtd: bytes
    rtmrs: tuple[bytes, ...]
    nonce_hash: bytes
    key_hash: bytes

    @property
    def debug(self) -> bool:
        """Whether the host may read the domain's memory."""
        return bool(self.attributes[0] & _DEBUG)


def read_quote(data: bytes) -> Quote | None:
    """Parse ``data``; return None unless it is a complete TDX quote of version 4."""
    if len(data) < _SIGNATURE + _SHORTEST_SIGNATURE:
        return None
    if _HEADER.unpack_from(data) != (_VERSION, _ECDSA_P256, _TDX):
        return None
    (signature,) = _SIGNATURE_SIZE.unpack_from(data, _SIGNATURE - _SIGNATURE_SIZE.size)
    if not _SHORTEST_SIGNATURE <= signature <= len(data) - _SIGNATURE:
        return None
    return Quote(
        attributes=data[_ATTRIBUTES],
        mrtd=data[_MRTD],
        rtmrs=tuple(
            data[at : at + _REGISTER_SIZE]
            for at in range(
                _REGISTERS, _REGISTERS + _REGISTER_COUNT * _REGISTER_SIZE, _REGISTER_SIZE
            )
        ),
        nonce_hash=data[_REPORT_DATA : _REPORT_DATA + _HASH],
        key_hash=data[_REPORT_DATA + _HASH : _REPORT_DATA + 2 * _HASH],
    )
