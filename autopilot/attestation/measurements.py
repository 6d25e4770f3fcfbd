"""The registers of the platform's virtual machines: the published rows, and files of pinned ones.

A row is a whole: its registers belong together. The names of rows are labels, and no keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from msgspec import DecodeError, Struct
from msgspec.json import Decoder, encode, format

from autopilot.attestation.quote import Quote

MAX_ROWS: Final = 4096
_SIZE: Final = 48
_HEX: Final = re.compile(rf"[0-9A-Fa-f]{{{2 * _SIZE}}}")
# A label is shown in a response header, in quotes.
_LABEL: Final = re.compile(r"[ !#-\[\]-~]{1,100}")
_REGISTERS: Final = ("RTMR0", "RTMR1", "RTMR2", "RTMR3")
_MOST_GPUS: Final = 64
_NOT_A_LIST: Final = "not a JSON list of rows"

_rows = Decoder(list[Any])


class MeasurementsError(ValueError):
    """A list of rows that cannot be used; each line names one fault."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class Measurement(Struct, frozen=True, gc=False):
    """One row: the registers of a version on a kind of machine, and its number of GPUs."""

    version: str
    name: str
    mrtd: bytes
    rtmrs: tuple[bytes, ...]
    gpu_count: int

    @property
    def label(self) -> str:
        """The name that outputs show."""
        return f"{self.version} {self.name}"

    @property
    def registers(self) -> tuple[bytes, ...]:
        """All that must be equal."""
        return (self.mrtd, *self.rtmrs)

    def matches(self, quote: Quote) -> bool:
        """Return whether the quote has these registers, all of them."""
        return self.registers == (quote.mrtd, *quote.rtmrs)


def parse_published(body: bytes) -> tuple[Measurement, ...]:
    """Parse the platform's list. A row that cannot be read is left out: it vouches for nothing.

    Raises `MeasurementsError` if it is no list, or no row of it can be read.
    """
    found = tuple(row for row, _fault in _parsed(body) if row is not None)
    if not found:
        raise MeasurementsError("no row can be read")
    return found


def parse_pinned(body: bytes) -> tuple[Measurement, ...]:
    """Parse an operator's file, in the shape of the platform's list.

    Raises `MeasurementsError` with a line for each fault: a row that is left out would refuse
    instances for a reason that the operator does not see.
    """
    parsed = list(_parsed(body))
    lines = [f"row {number}: {fault}" for number, (_row, fault) in enumerate(parsed, 1) if fault]
    if lines:
        raise MeasurementsError(*lines)
    if not parsed:
        raise MeasurementsError("no rows")
    return tuple(row for row, _fault in parsed if row is not None)


def pin_file(rows: Iterable[Measurement]) -> bytes:
    """Return a file that `parse_pinned` reads, with each row once, in a fixed order."""
    unique = {(each.registers, each.gpu_count): each for each in rows}
    ordered = sorted(unique.values(), key=lambda row: (row.version, row.name, row.registers))
    return format(encode([_written(each) for each in ordered]), indent=2) + b"\n"


def matching(rows: Sequence[Measurement], quote: Quote, gpus: int) -> Measurement | None:
    """Return the row that a quote has; of several, one with this number of GPUs if there is one."""
    found = [each for each in rows if each.matches(quote)]
    return next((each for each in found if each.gpu_count == gpus), found[0] if found else None)


def _written(row: Measurement) -> dict[str, object]:
    registers = {name: each.hex().upper() for name, each in zip(_REGISTERS, row.rtmrs, strict=True)}
    return {
        "version": row.version,
        "name": row.name,
        "mrtd": row.mrtd.hex().upper(),
        "runtime_rtmrs": registers,
        "gpu_count": row.gpu_count,
    }


def _parsed(body: bytes) -> Iterator[tuple[Measurement | None, str]]:
    """Yield each row, or its fault."""
    try:
        listed = _rows.decode(body)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        raise MeasurementsError(_NOT_A_LIST) from None
    if len(listed) > MAX_ROWS:
        raise MeasurementsError(f"more than {MAX_ROWS} rows")
    for each in listed:
        try:
            yield _row(each), ""
        except MeasurementsError as error:
            yield None, str(error)


def _row(row: Any) -> Measurement:
    if not isinstance(row, dict):
        raise MeasurementsError("not an object")
    runtime = row.get("runtime_rtmrs")
    if not isinstance(runtime, dict):
        raise MeasurementsError("runtime_rtmrs is not an object")
    count = row.get("gpu_count")
    if type(count) is not int or not 0 <= count <= _MOST_GPUS:
        raise MeasurementsError(f"gpu_count is not a number up to {_MOST_GPUS}")
    return Measurement(
        _label(row, "version"),
        _label(row, "name"),
        _register(row, "mrtd"),
        tuple(_register(runtime, each) for each in _REGISTERS),
        count,
    )


def _label(row: dict[str, Any], member: str) -> str:
    value = row.get(member)
    if not (isinstance(value, str) and _LABEL.fullmatch(value)):
        raise MeasurementsError(f"{member} is not a text of up to 100 printable ASCII characters")
    return value


def _register(row: dict[str, Any], member: str) -> bytes:
    value = row.get(member)
    if not (isinstance(value, str) and _HEX.fullmatch(value)):
        raise MeasurementsError(f"{member} is not {2 * _SIZE} hexadecimal digits")
    return bytes.fromhex(value)
