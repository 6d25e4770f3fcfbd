"""The days after a TCB recovery in which platforms are judged by Intel's previous data.

The numbers of its data, and the dates of the recoveries behind them, are Intel's own. They decide
only which data is fetched: that is signed, and holds for its own dates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from msgspec import DecodeError, Struct
from msgspec.json import Decoder
from twisted.internet.defer import Deferred

from autopilot.attestation.collateral import (
    CollateralError,
    Fetched,
    Platform,
    fetch_collateral,
)
from autopilot.http.fetch import FetchedResponse
from autopilot.http.fetch_error import FetchError

_DAY: Final = 86_400


class _Number(Struct):
    tcbEvaluationDataNumber: int  # noqa: N815 - Intel's names
    tcbRecoveryEventDate: str  # noqa: N815


class _Numbers(Struct):
    tcbEvalNumbers: list[_Number]  # noqa: N815


class _Answer(Struct):
    tcbEvaluationDataNumbers: _Numbers  # noqa: N815


class _TcbInfo(Struct):
    tcbEvaluationDataNumber: int  # noqa: N815


class _Collateral(Struct):
    tcb_info: str


_answer = Decoder(_Answer)
_tcb_info = Decoder(_TcbInfo)
_collateral = Decoder(_Collateral)

Ask = Callable[[str], Deferred[FetchedResponse]]


@dataclass(frozen=True, slots=True)
class Grace:
    """The number that is to be asked for, and until when, in Unix time."""

    number: int
    until: float


async def fetch_in_grace(
    ask: Ask, base: str, platform: Platform, days: int, wall: Callable[[], float]
) -> Fetched:
    """Fetch collateral: Intel's present data, or in the days of grace its previous data.

    Whatever prevents that leaves the present data, which is the stricter. Raises as
    `fetch_collateral` does.
    """
    text = await fetch_collateral(ask, base, platform)
    standard = evaluation_of(_collateral.decode(text).tcb_info)
    if not days or standard is None:
        return Fetched(text)
    try:
        listing = await ask(f"{base}/tdx/certification/v4/tcbevaluationdatanumbers")
        grace = grace_of(listing.body, standard, days, wall())
        if listing.status != 200 or grace is None:
            return Fetched(text)
        previous = await fetch_collateral(ask, base, platform, grace.number)
    except (FetchError, CollateralError):
        return Fetched(text)
    if evaluation_of(_collateral.decode(previous).tcb_info) != grace.number:
        return Fetched(text)
    return Fetched(previous, grace.until)


def evaluation_of(tcb_info: bytes | str) -> int | None:
    """Return the number of signed TCB info, None if it has none."""
    try:
        return _tcb_info.decode(tcb_info).tcbEvaluationDataNumber
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None


def grace_of(listing: bytes, standard: int, days: int, now: float) -> Grace | None:
    """Return the number before the ``standard`` one, if its recovery was less than ``days`` ago.

    ``listing`` is Intel's answer with all numbers; without a date for this one there is no grace.
    """
    try:
        listed = _answer.decode(listing).tcbEvaluationDataNumbers.tcbEvalNumbers
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None
    recovered = _recovered(listed, standard)
    before = [number for each in listed if (number := each.tcbEvaluationDataNumber) < standard]
    if recovered is None or not before:
        return None
    until = recovered + days * _DAY
    return Grace(max(before), until) if recovered <= now < until else None


def _recovered(listed: Sequence[_Number], number: int) -> float | None:
    for each in listed:
        if each.tcbEvaluationDataNumber == number:
            try:
                return datetime.fromisoformat(each.tcbRecoveryEventDate).timestamp()
            except (ValueError, OverflowError):
                return None
    return None
