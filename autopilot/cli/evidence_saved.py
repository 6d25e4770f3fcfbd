"""Answers that ``autopilot evidence --save`` keeps in a directory for ``--offline``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from re import fullmatch
from typing import Final

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder, encode

from autopilot.attestation.collateral import Platform
from autopilot.attestation.instances import DiscoveredInstance, DiscoveryError, parse_discovery
from autopilot.cli.console import CommandError

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
_INSTANCES: Final = "instances.json"
_MEASUREMENTS: Final = "measurements.json"


class _Answered(Struct):
    nonce: str
    evidence: Raw


_answered = Decoder(_Answered)


@dataclass(frozen=True, slots=True)
class SavedAnswers:
    """A directory: ``instances.json`` and ``measurements.json`` as the platform answered.

    ``evidence-<instance>.json`` has the nonce and the answer to it, and
    ``collateral-<fmspc>-<ca>.json`` Intel's data.
    """

    folder: Path

    def instances(self) -> tuple[DiscoveredInstance, ...]:
        """Return the instances. Raises `CommandError`."""
        try:
            return parse_discovery(self._read(_INSTANCES)).instances
        except DiscoveryError as error:
            raise CommandError(f"{_INSTANCES}: {error}") from None

    def measurements(self) -> bytes:
        """Return the platform's list. Raises `CommandError`."""
        return self._read(_MEASUREMENTS)

    def evidence(self, instance: DiscoveredInstance) -> tuple[str, bytes] | None:
        """Return the nonce and the answer, or None if there was none. Raises `CommandError`."""
        name = f"evidence-{instance.instance_id}.json"
        if not (self.folder / name).exists():
            return None
        try:
            answered = _answered.decode(self._read(name))
        except (DecodeError, UnicodeDecodeError, RecursionError):
            raise CommandError(f"{name}: not a nonce with its answer") from None
        return answered.nonce, bytes(answered.evidence)

    def collateral(self, platform: Platform) -> str | None:
        """Return Intel's data about a platform, or None. Raises `CommandError`."""
        name = _collateral_name(platform)
        if name is None or not (self.folder / name).exists():
            return None
        return self._read(name).decode("utf-8", "replace")

    def keep_instances(self, instances: Sequence[DiscoveredInstance]) -> None:
        """Write the instances, without their nonces."""
        listed = [{"instance_id": each.instance_id, "e2e_pubkey": each.key} for each in instances]
        self._write(_INSTANCES, encode({"instances": listed}))

    def keep_measurements(self, body: bytes) -> None:
        """Write the platform's list."""
        self._write(_MEASUREMENTS, body)

    def keep_evidence(self, instance: DiscoveredInstance, nonce: str, body: bytes) -> None:
        """Write one answer, if it is JSON, with its nonce."""
        try:
            written = encode({"nonce": nonce, "evidence": Decoder(Raw).decode(body)})
        except (DecodeError, UnicodeDecodeError, RecursionError):
            return
        self._write(f"evidence-{instance.instance_id}.json", written)

    def keep_collateral(self, platform: Platform, collateral: str) -> None:
        """Write Intel's data about a platform."""
        name = _collateral_name(platform)
        if name is not None:
            self._write(name, collateral.encode())

    def _read(self, name: str) -> bytes:
        try:
            with (self.folder / name).open("rb") as file:
                body = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise CommandError(f"{name}: {error.strerror or 'cannot be read'}") from None
        if len(body) > MAX_FILE_BYTES:
            raise CommandError(f"{name}: more than {MAX_FILE_BYTES} bytes")
        return body

    def _write(self, name: str, body: bytes) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(body)
        except OSError as error:
            raise CommandError(f"--save: {name}: {error.strerror or 'cannot be written'}") from None


def _collateral_name(platform: Platform) -> str | None:
    if not (fullmatch("[0-9A-F]{12}", platform.fmspc) and fullmatch("[a-z]{1,16}", platform.ca)):
        return None
    return f"collateral-{platform.fmspc}-{platform.ca}.json"
