"""The verdict on an instance's key: verified, with what was found, or refused for one reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from autopilot.measurement import Measurement


class Refusal(StrEnum):
    """The first check that failed, in the order of the checks."""

    QUOTE_MALFORMED = "quote_malformed"
    QUOTE_SIGNATURE = "quote_signature"
    COLLATERAL = "collateral"
    DEBUG = "debug"
    TD_ATTRIBUTES = "td_attributes"
    TCB_STATUS = "tcb_status"
    BINDING_KEY = "binding_key"
    BINDING_CERTIFICATE = "binding_certificate"
    MEASUREMENT_UNKNOWN = "measurement_unknown"
    MEASUREMENT_APP_UNMEASURED = "measurement_app_unmeasured"
    ENVELOPE_MISSING = "envelope_missing"
    ENVELOPE_SIGNATURE = "envelope_signature"
    ENVELOPE_MISMATCH = "envelope_mismatch"
    GPU_COUNT = "gpu_count"
    GPU_DUPLICATE = "gpu_duplicate"
    GPU_CHAIN = "gpu_chain"
    GPU_MALFORMED = "gpu_malformed"
    GPU_NONCE = "gpu_nonce"
    GPU_SIGNATURE = "gpu_signature"
    GPU_FIRMWARE_ID = "gpu_firmware_id"


class RefusedError(Exception):
    """Evidence that is refused. Its text is the reason only, never a part of the evidence."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class GpuChecks(StrEnum):
    """What was checked of the GPUs."""

    OFF = "off"
    SIGNED = "signed"
    """Genuine and fresh reports. Without an envelope nothing shows that the list is the VM's."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What the checks found of a key. From ``expires``, in Unix time, it is no longer shown."""

    tcb: str
    advisories: tuple[str, ...]
    measurement: Measurement
    gpus: int
    gpu_checks: GpuChecks
    envelope: bool
    expires: int
