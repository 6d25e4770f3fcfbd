"""What is known of models in private mode, for the plan of a private request."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

_NONE: frozenset[str] = frozenset()


class PrivateStanding(Struct, frozen=True, gc=False):
    """The models, by the catalog's names, of which more is known than the catalog says.

    ``ready`` have an instance with a verified key and a nonce for this client. ``unattestable`` are
    known to have none whose key can be verified.
    """

    ready: frozenset[str] = _NONE
    unattestable: frozenset[str] = _NONE


NOTHING_KNOWN: Final = PrivateStanding()
"""The standing before anything was asked."""
