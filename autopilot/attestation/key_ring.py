"""The parsed keys of instances by their text, so that no request parses a key that is known."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    # Its module needs a newer ``cryptography`` than the rest of the router.
    from autopilot.attestation.sealing import InstanceKey

MAX_KEYS: Final = 1024
"""Of some kilobytes each. The one that was used least lately gives way."""


class KeyRing:
    """Keys by their text. ``parse`` raises ValueError for a text that is no key."""

    def __init__(self, parse: Callable[[str], InstanceKey]) -> None:
        self._parse = parse
        self._kept: OrderedDict[str, InstanceKey | None] = OrderedDict()

    def of(self, text: str) -> InstanceKey | None:
        """Return the key of a text, or None if nothing can be sealed to it."""
        if text in self._kept:
            self._kept.move_to_end(text)
            return self._kept[text]
        try:
            key = self._parse(text)
        except ValueError:
            key = None
        self._kept[text] = key
        if len(self._kept) > MAX_KEYS:
            self._kept.popitem(last=False)
        return key
