"""Configuration of private mode's instances and verdicts, mapped from the settings in `wiring`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autopilot.attestation.verdict import GpuChecks
    from autopilot.measurement import Measurement


@dataclass(frozen=True, slots=True)
class PrivateConfig:
    """What is accepted of evidence, and where its data comes from. Times are in seconds.

    ``pinned`` are an operator's own rows; None stands for the platform's list. ``grace_days`` are
    the days for which Intel's previous data is asked for after a recovery. ``test_roots`` is the
    text in PEM of two other roots, of quotes and of GPUs; with them nothing is attested.
    """

    tcb: frozenset[str]
    grace_days: int
    pinned: tuple[Measurement, ...] | None
    gpu_checks: GpuChecks
    envelope_required: bool
    verdict_ttl: float
    attest_timeout: float
    api_url: str
    collateral_url: str
    collateral_folder: str | None
    test_roots: bytes | None = field(default=None, repr=False)
