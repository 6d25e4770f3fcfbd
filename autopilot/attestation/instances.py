"""The platform's answer to discovery: instances of a chute, their keys, and single-use nonces."""

from __future__ import annotations

from re import fullmatch
from typing import Any, Final

from msgspec import DecodeError, Struct, ValidationError, convert
from msgspec.json import Decoder

MAX_INSTANCES: Final = 64
MAX_NONCES: Final = 256
MAX_KEY_CHARACTERS: Final = 4096
"""A key has 1580."""
NONCE_SECONDS: Final = 55
"""The platform states 60 seconds; a nonce has to arrive before they end."""

_UUID: Final = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_NONCE: Final = r"[A-Za-z0-9_-]{8,128}"


class DiscoveryError(ValueError):
    """An answer that is not a list of instances. Its text quotes nothing."""


class DiscoveredInstance(Struct, frozen=True, gc=False):
    """One instance: its id, its public key as the platform wrote it, and its nonces."""

    instance_id: str
    key: str
    nonces: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"DiscoveredInstance({self.instance_id[:8]}, {len(self.nonces)} nonces)"


class _Listed(Struct):
    instance_id: str
    e2e_pubkey: str
    nonces: list[str] = []


class _Listing(Struct):
    instances: list[Any]
    nonce_expires_in: float | None = None


class Discovery(Struct, frozen=True):
    """The instances, and how many seconds their nonces may be used."""

    instances: tuple[DiscoveredInstance, ...]
    seconds: float


_listing = Decoder(_Listing)


def parse_discovery(body: bytes) -> Discovery:
    """Parse the answer. An instance that cannot be read is left out. Raises `DiscoveryError`."""
    try:
        listing = _listing.decode(body)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        raise DiscoveryError("not a list of instances") from None
    found: dict[str, DiscoveredInstance] = {}
    for each in listing.instances[:MAX_INSTANCES]:
        instance = _instance(each)
        if instance is not None:
            found.setdefault(instance.instance_id, instance)
    return Discovery(tuple(found.values()), _seconds(listing.nonce_expires_in))


def _instance(entry: object) -> DiscoveredInstance | None:
    try:
        listed = convert(entry, _Listed)
    except ValidationError:
        return None
    if not fullmatch(_UUID, listed.instance_id) or len(listed.e2e_pubkey) > MAX_KEY_CHARACTERS:
        return None
    nonces = [each for each in listed.nonces[:MAX_NONCES] if fullmatch(_NONCE, each)]
    return DiscoveredInstance(listed.instance_id, listed.e2e_pubkey, tuple(dict.fromkeys(nonces)))


def _seconds(stated: float | None) -> float:
    """Return how long nonces last, five seconds less than stated, and never longer than usual."""
    if stated is None:
        return NONCE_SECONDS
    return max(0.0, min(NONCE_SECONDS, stated - 5))
