"""Evidence of one instance, genuine or with one flaw, made for any nonce.

The names of the flaws are those of the cases in `tests/data/private/evidence_vectors.json`.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stub_backend.sealed.world import Machine, attested_body, bound

_OTHER_NONCE = "0" * 63 + "1"
_OTHER_KEY = "b3RoZXI="
_FIRMWARE = b"\x14\x00\x30\x00"
_REGISTER = 48


@dataclass(frozen=True, slots=True)
class Making:
    """What evidence is made of. What is None is genuine."""

    machine: Machine
    nonce: str
    key: str
    bound_nonce: str | None = None
    bound_key: str | None = None
    fields: Mapping[str, bytes] = field(default_factory=dict)
    certificate: str | None = None
    gpus: Sequence[Mapping[str, str]] | None = None
    changed: Callable[[bytes], bytes] | None = None

    @property
    def nonce_hash(self) -> bytes:
        """What the GPUs sign."""
        return bound(self.bound_nonce or self.nonce, self.bound_key or self.key)

    def quote(self) -> str:
        """Return the quote."""
        data = self.machine.report_data(self.bound_nonce or self.nonce, self.bound_key or self.key)
        made = self.machine.quote(data, self.fields)
        return b64encode(self.changed(made) if self.changed else made).decode()

    def evidence(self) -> dict[str, Any]:
        """Return the evidence, with the list of GPUs signed by the machine."""
        quote = self.quote()
        gpus = self.machine.gpus(self.nonce_hash) if self.gpus is None else list(self.gpus)
        body = attested_body(self.nonce, quote, gpus)
        return {
            "quote": quote,
            "gpu_evidence": gpus,
            "certificate": self.certificate or self.machine.certificate,
            "signature": self.machine.signature(body),
            "attested_body": body,
        }


Flaw = Callable[[Making], dict[str, Any]]


def genuine(making: Making) -> dict[str, Any]:
    """Return evidence without a flaw."""
    return making.evidence()


def _fields(**fields: str) -> Flaw:
    """Return evidence whose quote has other registers, and is signed."""
    values = {name: bytes.fromhex(value) for name, value in fields.items()}
    return lambda making: replace(making, fields=values).evidence()


def _changed(change: Callable[[bytes], bytes]) -> Flaw:
    """Return evidence whose quote was changed after it was signed."""
    return lambda making: replace(making, changed=change).evidence()


def _flipped(name: str | None) -> Flaw:
    """Return evidence with one bit of a field flipped, or of the signature behind the report."""

    def flaw(making: Making) -> dict[str, Any]:
        behind = making.machine.world.kit["tdx"]["report_data_offset"] + 64 + 4
        at = behind if name is None else making.machine.field(name)[0]
        change = _at(at, 1)
        return replace(making, changed=change).evidence()

    return flaw


def _flipped_binding(making: Making) -> dict[str, Any]:
    at = making.machine.world.kit["tdx"]["report_data_offset"]
    return replace(making, changed=_at(at, 1)).evidence()


def _at(place: int, bits: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:place] + bytes([data[place] ^ bits]) + data[place + 1 :]


def _members(**members: Any) -> Flaw:
    return lambda making: making.evidence() | members


def _unmeasured(making: Making) -> dict[str, Any]:
    """Return evidence with the registers of the published row that measures no application."""
    zero = "0" * 2 * _REGISTER
    rows = making.machine.world.measurements
    row = next(each for each in rows if each["runtime_rtmrs"]["RTMR3"] == zero)
    registers = {name.lower(): value for name, value in row["runtime_rtmrs"].items()}
    return _fields(mrtd=row["mrtd"], **registers)(making)


def _swapped(making: Making) -> dict[str, Any]:
    return replace(making, certificate=making.machine.other.certificate).evidence()


def _stranger(making: Making) -> dict[str, Any]:
    evidence = making.evidence()
    return evidence | {"signature": making.machine.other.signature(evidence["attested_body"])}


def _edited(making: Making) -> dict[str, Any]:
    evidence = making.evidence()
    body = b64encode(b64decode(evidence["attested_body"]) + b" ").decode()
    return evidence | {"attested_body": body}


def _stale_body(making: Making) -> dict[str, Any]:
    evidence = making.evidence()
    body = attested_body(_OTHER_NONCE, evidence["quote"], evidence["gpu_evidence"])
    return evidence | {"attested_body": body, "signature": making.machine.signature(body)}


def _shortened(making: Making) -> dict[str, Any]:
    evidence = making.evidence()
    return evidence | {"gpu_evidence": evidence["gpu_evidence"][:1]}


def _other_spelling(making: Making) -> dict[str, Any]:
    evidence = making.evidence()
    padded = b64decode(evidence["quote"]) + bytes(3)
    return evidence | {"quote": b64encode(padded).decode()}


def _gpus(change: Callable[[Making, list[dict[str, str]]], list[dict[str, str]]]) -> Flaw:
    """Return evidence with another list of GPUs, which the machine signed."""

    def flaw(making: Making) -> dict[str, Any]:
        listed = making.machine.gpus(making.nonce_hash)
        return replace(making, gpus=change(making, listed)).evidence()

    return flaw


def _report(making: Making, report: bytes, signer: Machine | None = None) -> dict[str, str]:
    return making.machine.gpu(0, report, signer)


def _stale_gpu(making: Making, gpus: list[dict[str, str]]) -> list[dict[str, str]]:
    stale = making.machine.gpu_report(0, bound(_OTHER_NONCE, making.key))
    return [_report(making, stale), *gpus[1:]]


def _stranger_gpu(making: Making, gpus: list[dict[str, str]]) -> list[dict[str, str]]:
    report = making.machine.gpu_report(0, making.nonce_hash)
    return [_report(making, report, making.machine.other), *gpus[1:]]


def _other_firmware(making: Making, gpus: list[dict[str, str]]) -> list[dict[str, str]]:
    report = making.machine.gpu_report(0, making.nonce_hash)
    changed = _at(report.rindex(_FIRMWARE) + len(_FIRMWARE), 1)(report)
    return [_report(making, changed), *gpus[1:]]


def _foreign_chain(making: Making, gpus: list[dict[str, str]]) -> list[dict[str, str]]:
    return [gpus[0], gpus[1] | {"certificate": making.machine.world.foreign_chain()}]


def _malformed(_making: Making, gpus: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{"certificate": "eA==", "evidence": "eQ==", "arch": "HOPPER"}, *gpus[1:]]


FLAWS: Mapping[str, Flaw] = {
    "envelope_required_but_missing": _members(signature=None, attested_body=None),
    "quote_not_base64": _members(quote="%%%"),
    "quote_truncated": _changed(lambda data: data[:600]),
    "quote_wrong_version": _changed(lambda data: b"\x05" + data[1:]),
    "quote_sgx_tee_type": _changed(lambda data: data[:4] + bytes(4) + data[8:]),
    "flip_mrtd": _flipped("mrtd"),
    "flip_rtmr3": _flipped("rtmr3"),
    "flip_report_data": _flipped_binding,
    "flip_signature": _flipped(None),
    "debug_td": _fields(td_attributes="0100001000000000"),
    "perfmon_td": _fields(td_attributes="0000001000000080"),
    "no_sept_ve_disable": _fields(td_attributes="0000000000000000"),
    "other_pubkey": lambda making: replace(making, bound_key=_OTHER_KEY).evidence(),
    "other_nonce": lambda making: replace(making, bound_nonce=_OTHER_NONCE).evidence(),
    "other_instance_evidence": lambda making: Making(
        making.machine.other, _OTHER_NONCE, _OTHER_KEY
    ).evidence(),
    "certificate_swapped": _swapped,
    "certificate_garbage": _members(certificate="bm9wZQ=="),
    "measurement_unknown": _fields(mrtd="77" * _REGISTER),
    "measurement_rtmr0_unknown": _fields(rtmr0="77" * _REGISTER),
    "measurement_app_unmeasured": _unmeasured,
    "measurement_boot_only": _fields(rtmr3="00" * _REGISTER),
    "envelope_signed_by_stranger": _stranger,
    "envelope_body_edited": _edited,
    "envelope_other_nonce": _stale_body,
    "envelope_gpu_list_shortened": _shortened,
    "envelope_other_quote_bytes": _other_spelling,
    "gpu_missing_one": _gpus(lambda _making, gpus: gpus[:1]),
    "gpu_none": _gpus(lambda _making, _listed: []),
    "gpu_duplicate": _gpus(lambda _making, gpus: [gpus[0], gpus[0]]),
    "gpu_stale_nonce": _gpus(_stale_gpu),
    "gpu_signed_by_other_key": _gpus(_stranger_gpu),
    "gpu_firmware_id_differs": _gpus(_other_firmware),
    "gpu_chain_other_root": _gpus(_foreign_chain),
    "gpu_malformed": _gpus(_malformed),
}
