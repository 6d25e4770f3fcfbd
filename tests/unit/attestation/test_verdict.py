"""Tests of the words for verdicts, which records, metrics and pages share, and of their order."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.verdict import GpuChecks, Refusal, RefusedError, Verified
from tests.unit.attestation.fake_instances import FOUND, ROW

REASONS = (
    # The quote, by Intel's certificates and lists.
    "quote_malformed",
    "quote_signature",
    "collateral",
    # The virtual machine that it is of.
    "debug",
    "td_attributes",
    "tcb_status",
    # What it binds: nonce and key, then the certificate.
    "binding_key",
    "binding_certificate",
    # Its registers.
    "measurement_unknown",
    "measurement_app_unmeasured",
    # The machine's own signature over the list of GPUs.
    "envelope_missing",
    "envelope_signature",
    "envelope_mismatch",
    # The GPUs.
    "gpu_count",
    "gpu_duplicate",
    "gpu_chain",
    "gpu_malformed",
    "gpu_nonce",
    "gpu_signature",
    "gpu_firmware_id",
)


class RefusalTests(SynchronousTestCase):
    """The reasons why a key is refused."""

    def test_order(self) -> None:
        """There is one for each check, in the order of the checks."""
        self.assertEqual(tuple(map(str, Refusal)), REASONS)

    def test_error(self) -> None:
        """The error of each has the reason, and a text that says the reason alone."""
        for each in Refusal:
            error = RefusedError(each)
            self.assertIs(error.refusal, each)
            self.assertEqual((str(error), error.args), (each.value, (each,)))


class GpuChecksTests(SynchronousTestCase):
    """What can be checked of GPUs."""

    def test_words(self) -> None:
        """They are not called attested: no measurement of the GPUs is compared."""
        self.assertEqual([str(each) for each in GpuChecks], ["off", "signed"])


class VerifiedTests(SynchronousTestCase):
    """What was found of a verified key."""

    def test_frozen(self) -> None:
        """Nothing prolongs a verdict."""
        with self.assertRaises(FrozenInstanceError):
            FOUND.expires += 1  # type: ignore[misc]

    def test_equal(self) -> None:
        """Two are equal if all that was found is."""
        self.assertEqual(replace(FOUND), FOUND)
        for other in (
            replace(FOUND, tcb="OutOfDate"),
            replace(FOUND, advisories=("INTEL-SA-00837",)),
            replace(FOUND, measurement=replace(ROW, gpu_count=4)),
            replace(FOUND, gpus=4),
            replace(FOUND, gpu_checks=GpuChecks.OFF),
            replace(FOUND, envelope=False),
            replace(FOUND, expires=FOUND.expires + 1),
        ):
            self.assertNotEqual(other, FOUND)

    def test_to_workers(self) -> None:
        """A worker reads it as its parent wrote it."""
        found = replace(FOUND, advisories=("INTEL-SA-00837",))
        written = msgspec.msgpack.encode(found)
        self.assertEqual(msgspec.msgpack.decode(written, type=Verified), found)
