"""The registers of genuine quotes that no row has: what an operator looks for in newer rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from autopilot.attestation.quote import Quote
from autopilot.measurement import Measurement

MOST: Final = 16
_SHOWN: Final = 16
_NAMES: Final = ("MRTD", "RTMR0", "RTMR1", "RTMR2", "RTMR3")


class MissingRegisters:
    """The last of them, each once."""

    def __init__(self) -> None:
        self._seen: dict[tuple[bytes, ...], None] = {}

    def note(self, quote: Quote) -> None:
        """Note the registers of a quote whose signature holds, and which no row has."""
        registers = (quote.mrtd, *quote.rtmrs)
        self._seen.pop(registers, None)
        self._seen[registers] = None
        if len(self._seen) > MOST:
            del self._seen[next(iter(self._seen))]

    def lacking(self, rows: Sequence[Measurement]) -> tuple[str, ...]:
        """Return those that these rows lack, shortened.

        Each names the registers that no row has at all; if every one is in some row, it names all:
        they are no row's together.
        """
        whole = {each.registers for each in rows}
        known = [{each.registers[place] for each in rows} for place in range(len(_NAMES))]
        found = []
        for registers in self._seen:
            if registers in whole:
                continue
            named = list(zip(_NAMES, registers, known, strict=True))
            alone = [each for each in named if each[1] not in each[2]] or named
            found.append(" ".join(f"{name} {value.hex()[:_SHOWN]}" for name, value, _ in alone))
        return tuple(found)
