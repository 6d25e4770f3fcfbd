"""The platform's list of measurements, the file of those to pin, and the row of a quote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.json import encode, format

from autopilot.attestation.quote import Quote
from autopilot.measurement import REGISTERS, Measurement, MeasurementsError, parse_rows


def parse_published(body: bytes) -> tuple[Measurement, ...]:
    """Parse the platform's list. A row that cannot be read is left out: it vouches for nothing.

    Raises `MeasurementsError` if it is no list, or no row of it can be read.
    """
    found = tuple(row for row, _fault in parse_rows(body) if row is not None)
    if not found:
        raise MeasurementsError("no row can be read")
    return found


def pin_file(rows: Iterable[Measurement]) -> bytes:
    """Return a file that `parse_pinned` reads, with each row once, in a fixed order."""
    unique = {(each.registers, each.gpu_count): each for each in rows}
    ordered = sorted(unique.values(), key=lambda row: (row.version, row.name, row.registers))
    return format(encode([_written(each) for each in ordered]), indent=2) + b"\n"


def matching(rows: Sequence[Measurement], quote: Quote, gpus: int) -> Measurement | None:
    """Return the row that has all registers of a quote.

    Of several, it is one with this number of GPUs if there is one.
    """
    registers = (quote.mrtd, *quote.rtmrs)
    found = [each for each in rows if each.registers == registers]
    return next((each for each in found if each.gpu_count == gpus), found[0] if found else None)


def _written(row: Measurement) -> dict[str, object]:
    registers = {name: each.hex().upper() for name, each in zip(REGISTERS, row.rtmrs, strict=True)}
    return {
        "version": row.version,
        "name": row.name,
        "mrtd": row.mrtd.hex().upper(),
        "runtime_rtmrs": registers,
        "gpu_count": row.gpu_count,
    }
