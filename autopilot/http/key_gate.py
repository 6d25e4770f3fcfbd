"""The check of a request head for an API key (contract §2).

The platform's edge answers requests without a key with a growing ban, which affects every client of
the router. The gate follows chutes-api in what counts as a key; only the platform can tell whether
a key is valid.
"""

from __future__ import annotations

from typing import Protocol

from autopilot.http.headers import Named
from autopilot.routing.router_error import RouterError

MISSING_KEY = RouterError(
    401,
    "missing_key",
    "The request has no API key. Send 'Authorization: Bearer' and your key; on /v1/messages also"
    " 'x-api-key' will do.",
)
HOTKEY = b"x-chutes-hotkey"
"""The field with the public key of a signed request."""

_SIGNATURE = (HOTKEY, b"x-chutes-signature", b"x-chutes-nonce")
_MESSAGES = b"/v1/messages"
_SPACE = ord(" ")  # an int: `in` finds it in bytes at a third of the cost
# A single word is a key without a scheme, which the platform accepts too, unless it is the name of
# a scheme.
_SCHEMES = frozenset({b"bearer", b"basic"})


class KnownKeys(Protocol):
    """The keys with which clients may use the router."""

    def refusal(self, path: bytes, named: Named) -> RouterError | None:
        """Return the error for a request without one of them, or whose key has nothing left."""


class KeyGate:
    """Refuses requests without a key to the paths that require one.

    ``known`` are the operator's own keys: with them, all others are refused on every path.
    """

    __slots__ = ("known", "paths")

    def __init__(self, paths: frozenset[bytes] = frozenset()) -> None:
        self.paths = paths
        """The paths that require a key; replaced on a reload."""
        self.known: KnownKeys | None = None

    def refusal(self, path: bytes, named: Named) -> RouterError | None:
        """Return the error if ``path`` requires a key and the fields have none."""
        if path not in self.paths:
            return None
        # The usual credential: a scheme and a key.
        for value in named.get(b"authorization", ()):
            if _SPACE in value.strip() or _is_key(value):
                return None
        return None if _has_other_key(path, named) else MISSING_KEY


def credentials(path: bytes, named: Named) -> list[bytes]:
    """Return the keys that a request has: in the order of contract §5, without their schemes.

    Like the platform, it takes the last word of a credential, whatever its scheme.
    """
    given = [value.split()[-1] for value in named.get(b"authorization", ()) if _is_key(value)]
    if path.startswith(_MESSAGES):
        given += [value.strip() for value in named.get(b"x-api-key", ()) if value.strip()]
    return given


def is_signed(named: Named) -> bool:
    """Return whether a request is signed: over its body, with a hotkey."""
    return all(_is_given(named, name) for name in _SIGNATURE)


def _is_key(credential: bytes) -> bool:
    """Return whether the value of an ``Authorization`` field has more than a scheme."""
    words = credential.lower().split()
    return len(words) > 1 or (len(words) == 1 and words[0] not in _SCHEMES)


def _has_other_key(path: bytes, named: Named) -> bool:
    """Return whether the request is signed or, to the messages API, has its own kind of key."""
    if is_signed(named):
        return True
    return path.startswith(_MESSAGES) and _is_given(named, b"x-api-key")


def _is_given(named: Named, name: bytes) -> bool:
    """Return whether a field has a value that is not blank."""
    return any(value.strip() for value in named.get(name, ()))
