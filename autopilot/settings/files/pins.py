"""The file of PRIVATE_MEASUREMENTS: the registers of virtual machines that an operator keeps.

It has the shape of the platform's list, and `autopilot evidence --pin` writes one. It is checked as
a whole: each fault is one line. A row that was left out would refuse instances for a reason that
the operator does not see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from autopilot.measurement import Measurement, MeasurementsError, parse_pinned
from autopilot.settings.types import ReadableFile

PUBLISHED: Final = "published"
"""The word for the platform's own list instead of a file."""

_MAX_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class PinFile:
    """The path of a file that is valid, and its rows."""

    path: str
    rows: tuple[Measurement, ...]


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


def _read(path: str) -> tuple[Measurement, ...]:
    """Return the rows of a file. Raises `ValueError` with one line for each fault."""
    try:
        return parse_pinned(_body(path))
    except MeasurementsError as error:
        faults = error.lines
    except OSError as error:
        faults = (error.strerror or "cannot be read",)
    raise ValueError("\n".join(f"{path!a}: {fault}" for fault in faults))


def _body(path: str) -> bytes:
    with open(path, "rb") as file:
        body = file.read(_MAX_BYTES + 1)
    if len(body) > _MAX_BYTES:
        raise MeasurementsError(f"longer than {_MAX_BYTES} bytes")
    return body
