"""One row of measurements, the registers of a virtual machine, and lists of rows in JSON.

Settings read an operator's file of rows, and attestation the platform's list, which has its shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

REGISTERS: Final = ("RTMR0", "RTMR1", "RTMR2", "RTMR3")
"""The names of the registers that are measured at run time, in their order."""

MAX_ROWS: Final = 4096
_SIZE: Final = 48
_HEX: Final = re.compile(rf"[0-9A-Fa-f]{{{2 * _SIZE}}}")
# A label is shown in a response header, in quotes.
_LABEL: Final = re.compile(r"[ !#-\[\]-~]{1,100}")
_MOST_GPUS: Final = 64


class MeasurementsError(ValueError):
    """A list of rows that cannot be used; each line names one fault."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row: the registers of a version on a kind of machine, and its number of GPUs.

    A row is a whole: its registers belong together. Version and name are labels, and no keys.
    """

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


def parse_pinned(body: bytes) -> tuple[Measurement, ...]:
    """Parse an operator's file, in the shape of the platform's list.

    Raises `MeasurementsError` with a line for each fault: a row that is left out would refuse
    instances for a reason that the operator does not see.
    """
    parsed = list(parse_rows(body))
    lines = [f"row {number}: {fault}" for number, (_row, fault) in enumerate(parsed, 1) if fault]
    if lines:
        raise MeasurementsError(*lines)
    if not parsed:
        raise MeasurementsError("no rows")
    return tuple(row for row, _fault in parsed if row is not None)


def parse_rows(body: bytes) -> Iterator[tuple[Measurement | None, str]]:
    """Yield each row of a list, or its fault. Raises `MeasurementsError` if it is no list."""
    # It takes milliseconds, and most settings name no such file.
    from msgspec import DecodeError, json

    try:
        listed = json.decode(body, type=list[Any])
    except (DecodeError, UnicodeDecodeError, RecursionError):
        raise MeasurementsError("not a JSON list of rows") from None
    if len(listed) > MAX_ROWS:
        raise MeasurementsError(f"more than {MAX_ROWS} rows")
    for each in listed:
        try:
            yield _row(each), ""
        except MeasurementsError as error:
            yield None, str(error)


def _row(row: object) -> Measurement:
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
        tuple(_register(runtime, each) for each in REGISTERS),
        count,
    )


def _label(row: Mapping[str, object], member: str) -> str:
    value = row.get(member)
    if not (isinstance(value, str) and _LABEL.fullmatch(value)):
        raise MeasurementsError(f"{member} is not a text of up to 100 printable ASCII characters")
    return value


def _register(row: Mapping[str, object], member: str) -> bytes:
    value = row.get(member)
    if not (isinstance(value, str) and _HEX.fullmatch(value)):
        raise MeasurementsError(f"{member} is not {2 * _SIZE} hexadecimal digits")
    return bytes.fromhex(value)
