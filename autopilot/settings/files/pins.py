"""The file of PRIVATE_MEASUREMENTS: the registers of virtual machines that an operator keeps.

It has the shape of the platform's list, and `autopilot evidence --pin` writes one. It is checked as
a whole: each fault is one line. A row that was left out would refuse instances for a reason that
the operator does not see.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from autopilot.settings.types import ReadableFile

PUBLISHED: Final = "published"
"""The word for the platform's own list instead of a file."""

_MAX_BYTES: Final = 8 << 20
_MAX_ROWS: Final = 4096
_MOST_GPUS: Final = 64
_HEX: Final = re.compile(r"[0-9A-Fa-f]{96}")
# A label is shown in a response header, in quotes.
_LABEL: Final = re.compile(r"[ !#-\[\]-~]{1,100}")
_REGISTERS: Final = ("RTMR0", "RTMR1", "RTMR2", "RTMR3")


@dataclass(frozen=True, slots=True)
class PinnedRow:
    """One row: labels, the registers of a kind of machine, and its number of GPUs."""

    version: str
    name: str
    mrtd: bytes
    rtmrs: tuple[bytes, ...]
    gpu_count: int


@dataclass(frozen=True, slots=True)
class PinFile:
    """The path of a file that is valid, and its rows."""

    path: str
    rows: tuple[PinnedRow, ...]


@dataclass(frozen=True, slots=True)
class PinsSetting:
    """The type of PRIVATE_MEASUREMENTS: a word, or the path of a file, which is read at once."""

    @property
    def expected(self) -> str:
        """The word, or the form of the path."""
        return f"{PUBLISHED} or path of a JSON file"

    def parse(self, text: str) -> object:
        """Parse the word, in any case, or a path."""
        return self.check(PUBLISHED if text.lower() == PUBLISHED else text)

    def check(self, value: object) -> object:
        """Read the file whose path is given; accept the word, and a file that was read before.

        :raises ValueError: it has one line for each fault.
        """
        if isinstance(value, PinFile) or value == PUBLISHED:
            return value
        if value is None:
            raise ValueError(f"nothing is given; give {self.expected}")
        path = str(ReadableFile().check(value))
        return PinFile(path, _read(path))

    def show(self, value: object) -> str:
        """Return the word or the path."""
        return value.path if isinstance(value, PinFile) else str(value)


def _read(path: str) -> tuple[PinnedRow, ...]:
    """Return the rows of a file. Raises `ValueError` with one line for each fault."""
    rows: list[PinnedRow] = []
    faults: list[str] = []
    try:
        for number, row in enumerate(_listed(path), 1):
            try:
                rows.append(_row(row))
            except ValueError as error:
                faults.append(f"row {number}: {error}")
        if not rows and not faults:
            faults.append("no rows")
    except OSError as error:
        faults.append(error.strerror or "cannot be read")
    except ValueError as error:
        faults.append(str(error))
    if faults:
        raise ValueError("\n".join(f"{path!a}: {fault}" for fault in faults))
    return tuple(rows)


def _listed(path: str) -> list[Any]:
    with open(path, "rb") as file:
        body = file.read(_MAX_BYTES + 1)
    if len(body) > _MAX_BYTES:
        raise ValueError(f"longer than {_MAX_BYTES} bytes")
    # It takes milliseconds, and most routers have no such file.
    from msgspec import DecodeError, json

    try:
        listed = json.decode(body, type=list[Any])
    except (DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("not a JSON list of rows") from None
    if len(listed) > _MAX_ROWS:
        raise ValueError(f"more than {_MAX_ROWS} rows")
    return listed


def _row(row: object) -> PinnedRow:
    if not isinstance(row, dict):
        raise ValueError("not an object")
    runtime = row.get("runtime_rtmrs")
    if not isinstance(runtime, dict):
        raise ValueError("runtime_rtmrs is not an object")
    count = row.get("gpu_count")
    if type(count) is not int or not 0 <= count <= _MOST_GPUS:
        raise ValueError(f"gpu_count is not a number up to {_MOST_GPUS}")
    return PinnedRow(
        _label(row, "version"),
        _label(row, "name"),
        _register(row, "mrtd"),
        tuple(_register(runtime, each) for each in _REGISTERS),
        count,
    )


def _label(row: Mapping[str, object], member: str) -> str:
    value = row.get(member)
    if not (isinstance(value, str) and _LABEL.fullmatch(value)):
        raise ValueError(f"{member} is not a text of up to 100 printable ASCII characters")
    return value


def _register(row: Mapping[str, object], member: str) -> bytes:
    value = row.get(member)
    if not (isinstance(value, str) and _HEX.fullmatch(value)):
        raise ValueError(f"{member} is not 96 hexadecimal digits")
    return bytes.fromhex(value)
