"""What is known about attested instances, for the pages: counts, ages, reasons and labels.

Keys, nonces and certificates are not in it.
"""

from __future__ import annotations

from msgspec import Struct


class ChuteReport(Struct, frozen=True, gc=False):
    """The keys of one chute's instances. Ages are in seconds.

    ``refused`` has how many keys are without a verdict for a reason: of the checks, or
    ``unattestable`` or ``unanswered``. ``age`` is that of the oldest verdict that counts, and
    ``discovered`` that of the last discovery. ``nonces`` are left, of all clients.
    """

    known: int = 0
    verified: int = 0
    refused: tuple[tuple[str, int], ...] = ()
    age: float | None = None
    measurements: tuple[str, ...] = ()
    tcb: tuple[str, ...] = ()
    nonces: int = 0
    discovered: float | None = None


class CollateralReport(Struct, frozen=True, gc=False):
    """Intel's data: of how many platforms, and its oldest.

    ``next_update`` is in Unix time: when the first of it ends. ``evaluation`` is the lowest number
    of its evaluation. All are None while there is none.
    """

    platforms: int = 0
    age: float | None = None
    next_update: float | None = None
    evaluation: int | None = None


class MeasurementsReport(Struct, frozen=True, gc=False):
    """The rows that registers are compared with: ``published`` by the platform, or ``pinned``.

    ``missing`` names registers of genuine quotes that no row has, shortened.
    """

    source: str = "published"
    age: float | None = None
    rows: int = 0
    missing: tuple[str, ...] = ()


class PrivateReport(Struct, frozen=True, gc=False):
    """All of it. ``roots`` is ``published``, or ``test-roots`` where others are trusted.

    ``chutes`` is by chute id. Unless ``attestable``, ``why_not`` says in words what is missing.
    """

    roots: str = "published"
    chutes: dict[str, ChuteReport] = {}
    collateral: CollateralReport = CollateralReport()
    measurements: MeasurementsReport = MeasurementsReport()
    attestable: bool = False
    why_not: str | None = None
