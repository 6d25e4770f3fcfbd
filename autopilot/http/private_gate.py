"""The check of a request head for private mode, before the body is read.

What the head shows is refused there: another value of the header, private mode that is
off, an endpoint that has none, and a signature. The body's model may ask for private mode too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from autopilot.http.headers import Named
from autopilot.http.key_gate import HOTKEY, is_signed
from autopilot.routing.private_mode import ALWAYS, OFF, PRIVATE_IS_OFF, PrivateMode, unsupported
from autopilot.routing.router_error import RouterError

HEADER: Final = b"x-autopilot-private"
SERVED: Final = frozenset({b"/v1/chat/completions", b"/v1/completions"})
"""The endpoints of private mode."""

NOT_SERVED: Final = unsupported(
    "Private mode has the endpoints /v1/chat/completions and /v1/completions only: instances serve"
    " no other one. Use one of these."
)
SIGNED: Final = RouterError(
    400,
    "signed_request",
    "The request's signature covers its body, which private mode encrypts to an instance. Send an"
    " API key instead of the signature.",
)
_REQUIRE: Final = b"require"
_INVALID: Final = RouterError(
    400, "invalid_header", "The header X-Autopilot-Private must be require, or absent."
)


class PrivateGate:
    """Refuses what cannot be private by its head.

    ``watched`` are the paths of which every request is private.
    """

    __slots__ = ("mode", "watched")

    def __init__(self) -> None:
        self.mode = OFF
        self.watched: frozenset[bytes] = frozenset()

    def set_mode(self, mode: PrivateMode, relayed: Iterable[bytes]) -> None:
        """Work in this mode from now on; ``relayed`` are the paths of the relay."""
        self.mode = mode
        self.watched = frozenset(relayed) if mode is ALWAYS else frozenset()

    def refusal(self, path: bytes, named: Named) -> RouterError | None:
        """Return the error of a ``POST`` to ``path``, if it has one."""
        asked = private_asked(named)
        if isinstance(asked, RouterError):
            return asked
        if asked and self.mode is OFF:
            return PRIVATE_IS_OFF
        if not asked and self.mode is not ALWAYS:
            return None
        if path not in SERVED:
            return NOT_SERVED
        return SIGNED if HOTKEY in named and is_signed(named) else None


def private_asked(named: Named) -> bool | RouterError:
    """Return whether the header asks for private mode; no value of it turns that off.

    Each of several values counts, for a proxy may have added one. An empty one alone is an error:
    whoever sends it means to ask, but with a variable that is not set.
    """
    given = named.get(HEADER)
    if not given:
        return False
    values = {value.strip() for value in b",".join(given).lower().split(b",")} - {b""}
    return True if values == {_REQUIRE} else _INVALID
