"""Tests of GPU reports: their layout, the chain of a device, nonce, signature and firmware id."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import (
    Certificate,
    load_der_x509_certificate,
    load_pem_x509_certificate,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.gpu_report import (
    NVIDIA_ROOT,
    leaf_key,
    read_chain,
    read_report,
    verify_chain,
    verify_report,
)
from autopilot.attestation.verdict import Refusal, RefusedError
from tests.unit.attestation import world
from tests.unit.attestation.issued import START, YEAR, Issued, fingerprint
from tests.unit.attestation.sealed import FOLDER

NONCE = bytes(range(32))
NOW = int((START + YEAR / 2).timestamp())


def unsigned() -> bytearray:
    """Return a genuine report for `NONCE`, without its signature."""
    made = bytearray.fromhex(world.gpu_kit()["report_without_signature_hex"])
    made[4:36] = NONCE
    return made


def signed(report: bytes) -> bytes:
    """Return the report with its GPU's signature."""
    return world.sign_report(world.gpu_kit(), report)


def genuine_chain() -> tuple[Certificate, ...]:
    """Return the chain of the GPU."""
    return read_chain(b64decode(world.gpu_kit()["certificate_chain_pem_b64"]))


class ReportTestCase(SynchronousTestCase):
    """Refusals, by their reason."""

    def refused(self, refusal: Refusal, call: Callable[..., object], *given: object) -> None:
        """Assert that a call refuses for this reason."""
        with self.assertRaises(RefusedError) as caught:
            call(*given)
        self.assertIs(caught.exception.refusal, refusal)


class LayoutTests(ReportTestCase):
    """The bytes of a report."""

    def test_genuine(self) -> None:
        """A genuine report has a nonce and a firmware id, and all but the end is signed."""
        data = signed(bytes(unsigned()))
        report = read_report(data)
        self.assertEqual(report.nonce, NONCE)
        self.assertEqual((report.signed, report.signature), (data[:-96], data[-96:]))
        self.assertEqual(len(report.firmware_id or b""), 48)
        verify_report(report, genuine_chain()[0], NONCE)

    def test_cut(self) -> None:
        """A report that is cut or longer is malformed: the opaque data ends at the signature."""
        data = signed(bytes(unsigned()))
        for end in range(len(data)):
            self.refused(Refusal.GPU_MALFORMED, read_report, data[:end])
        self.refused(Refusal.GPU_MALFORMED, read_report, data + b"\0")

    def test_size(self) -> None:
        """A report has at most 64 KiB."""
        report = unsigned()
        record = int.from_bytes(report[42:45], "little")
        for size in (65_536, 65_537):
            more = size - len(report) - 96
            made = report[:45] + bytes(more) + report[45:]
            made[42:45] = (record + more).to_bytes(3, "little")
            data = signed(bytes(made))
            self.assertEqual(len(data), size)
            if size == 65_536:
                self.assertEqual(read_report(data).nonce, NONCE)
            else:
                self.refused(Refusal.GPU_MALFORMED, read_report, data)

    def test_other_messages(self) -> None:
        """Request and response have their versions and codes."""
        for at in (0, 1, 37, 38):
            report = unsigned()
            report[at] ^= 1
            self.refused(Refusal.GPU_MALFORMED, read_report, signed(bytes(report)))

    def test_lengths(self) -> None:
        """A length that does not fit is malformed."""
        report = unsigned()
        record = int.from_bytes(report[42:45], "little")
        opaque = 37 + 8 + record + 32
        for at, value in ((42, 0xFF), (44, 0xFF), (opaque, 0xFF), (opaque + 1, 0xFF)):
            changed = bytearray(report)
            changed[at] = value
            self.refused(Refusal.GPU_MALFORMED, read_report, signed(bytes(changed)))

    def test_fields(self) -> None:
        """Opaque data is a list of fields; without that of the firmware there is no id."""
        report = unsigned()
        record = int.from_bytes(report[42:45], "little")
        opaque = 37 + 8 + record + 32
        for fields, expected in (
            (b"", None),
            (b"\x03\x00\x01\x00x", None),
            (b"\x03\x00\x00\x00", None),
            (b"\x03\x00\x00\x00\x14\x00\x02\x00id", b"id"),
        ):
            made = report[:opaque] + len(fields).to_bytes(2, "little") + fields
            self.assertEqual(read_report(signed(bytes(made))).firmware_id, expected)
        for fields in (b"\x14", b"\x14\x00\x02", b"\x14\x00\x02\x00i", b"\x14\x00\x00\x00\x01\x00"):
            made = report[:opaque] + len(fields).to_bytes(2, "little") + fields
            self.refused(Refusal.GPU_MALFORMED, read_report, signed(bytes(made)))

    def test_repr(self) -> None:
        """The representation shows nothing of a device."""
        self.assertEqual(repr(read_report(signed(bytes(unsigned())))), "SpdmReport()")

    @given(st.binary(max_size=400), st.booleans())
    def test_anything(self, data: bytes, headed: bool) -> None:
        """Arbitrary bytes are a report or are refused."""
        made = bytes(unsigned())[:45] + data if headed else data
        try:
            read_report(made)
        except RefusedError as error:
            self.assertIs(error.refusal, Refusal.GPU_MALFORMED)


class SignatureTests(ReportTestCase):
    """Nonce, signature and firmware id."""

    def test_nonce(self) -> None:
        """A report for another nonce is refused, before its signature is looked at."""
        report = read_report(bytes(unsigned()) + bytes(96))
        self.refused(Refusal.GPU_NONCE, verify_report, report, genuine_chain()[0], bytes(32))
        self.refused(Refusal.GPU_SIGNATURE, verify_report, report, genuine_chain()[0], NONCE)

    @settings(max_examples=60)
    @given(st.data())
    def test_flipped_bits(self, data: st.DataObject) -> None:
        """No bit of a report can change."""
        made = bytearray(signed(bytes(unsigned())))
        bit = data.draw(st.integers(0, len(made) * 8 - 1))
        made[bit // 8] ^= 1 << bit % 8
        with self.assertRaises(RefusedError):
            verify_report(read_report(bytes(made)), genuine_chain()[0], NONCE)

    def test_firmware_id(self) -> None:
        """The firmware id is that for which the leaf was issued."""
        report = unsigned()
        report[-1] ^= 1
        leaf = genuine_chain()[0]
        changed = read_report(signed(bytes(report)))
        self.refused(Refusal.GPU_FIRMWARE_ID, verify_report, changed, leaf, NONCE)
        record = int.from_bytes(report[42:45], "little")
        without = read_report(signed(bytes(report[: 37 + 8 + record + 32]) + b"\0\0"))
        self.refused(Refusal.GPU_FIRMWARE_ID, verify_report, without, leaf, NONCE)

    def test_other_keys(self) -> None:
        """A leaf with a key of another kind, or without device information, is refused."""
        report = read_report(signed(bytes(unsigned())))
        small = ec.generate_private_key(ec.SECP256R1())
        short = read_report(world.signed_report(small, bytes(unsigned())))
        for key in (small, rsa.generate_private_key(65_537, 2048)):
            other = Issued("leaf", public=key.public_key()).certificate
            self.refused(Refusal.GPU_SIGNATURE, verify_report, short, other, NONCE)
        scalar = int(world.gpu_kit()["leaf_scalar_hex"], 16)
        private = ec.derive_private_key(scalar, ec.SECP384R1())
        for information in (None, b"short"):
            leaf = Issued("leaf", key=private, information=information)
            self.refused(Refusal.GPU_FIRMWARE_ID, verify_report, report, leaf.certificate, NONCE)
        exact = Issued("leaf", key=private, information=report.firmware_id)
        verify_report(report, exact.certificate, NONCE)

    def test_short_firmware_id(self) -> None:
        """A shorter id identifies no firmware, though report and leaf agree in it."""
        report = unsigned()
        opaque = 37 + 8 + int.from_bytes(report[42:45], "little") + 32
        made = report[:opaque] + b"\x06\x00\x14\x00\x02\x00id"
        scalar = int(world.gpu_kit()["leaf_scalar_hex"], 16)
        private = ec.derive_private_key(scalar, ec.SECP384R1())
        leaf = Issued("leaf", key=private, information=b"id").certificate
        read = read_report(signed(bytes(made)))
        self.assertEqual(read.firmware_id, b"id")
        self.refused(Refusal.GPU_FIRMWARE_ID, verify_report, read, leaf, NONCE)


class ChainTests(ReportTestCase):
    """The chain from a device to the root."""

    def setUp(self) -> None:
        """Make a root, two authorities and a leaf."""
        self.root = Issued("root")
        self.upper = Issued("upper", self.root)
        self.lower = Issued("lower", self.upper)
        self.leaf = Issued("leaf", self.lower, ca=None)

    def check(self, *chain: Issued, now: int = NOW, known: set[bytes] | None = None) -> None:
        """Verify a chain to the root."""
        certificates = tuple(each.certificate for each in chain)
        verify_chain(certificates, fingerprint(self.root), now, known)

    def test_good(self) -> None:
        """Each certificate is issued by the next, up to the root."""
        self.check(self.leaf, self.lower, self.upper, self.root)
        self.check(Issued("leaf", self.root), self.root)

    def test_genuine(self) -> None:
        """The synthetic GPU chains to its root, and not to NVIDIA's."""
        root = world.roots()[1]
        verify_chain(genuine_chain(), root, world.NOW)
        self.refused(Refusal.GPU_CHAIN, verify_chain, genuine_chain(), NVIDIA_ROOT, world.NOW)

    def test_nvidia(self) -> None:
        """The known hash is that of NVIDIA's certificate, which issued itself."""
        pem = (FOLDER / "nvidia_device_identity_root.pem").read_bytes()
        certificate = load_pem_x509_certificate(pem)
        self.assertEqual(sha256(certificate.public_bytes(Encoding.DER)).digest(), NVIDIA_ROOT)
        verify_chain(read_chain(pem), NVIDIA_ROOT, world.NOW)

    def test_gaps(self) -> None:
        """A missing, foreign or moved link breaks the chain."""
        other = Issued("upper", Issued("root"))
        impostor = Issued("lower", Issued("upper"))
        for chain in (
            (self.leaf, self.lower, self.upper),
            (self.leaf, self.lower, self.root),
            (self.leaf, self.upper, self.lower, self.root),
            (self.leaf, self.lower, other, self.root),
            (self.leaf, impostor, self.upper, self.root),
            (self.lower, self.leaf, self.root),
            (self.leaf, self.lower, self.upper, Issued("root")),
        ):
            self.refused(Refusal.GPU_CHAIN, self.check, *chain)

    def test_authorities(self) -> None:
        """Only an authority issues, and not below its limit."""
        for ca in (None, False):
            lower = Issued("lower", self.upper, ca=ca)
            chain = (Issued("leaf", lower), lower, self.upper, self.root)
            self.refused(Refusal.GPU_CHAIN, self.check, *chain)
        for length, good in ((0, False), (1, True)):
            upper = Issued("upper", self.root, length=length)
            lower = Issued("lower", upper, length=0)
            chain = (Issued("leaf", lower), lower, upper, self.root)
            if good:
                self.check(*chain)
            else:
                self.refused(Refusal.GPU_CHAIN, self.check, *chain)

    def test_times(self) -> None:
        """Every certificate has to be valid at the time."""
        first, last = int(START.timestamp()), int((START + YEAR).timestamp())
        chain = self.leaf, self.lower, self.upper, self.root
        for now in (first, last):
            self.check(*chain, now=now)
        for now in (first - 1, last + 1):
            with self.assertRaises(RefusedError):
                self.check(*chain, now=now)
        early = Issued("leaf", self.lower, start=START - YEAR)
        self.refused(Refusal.GPU_CHAIN, self.check, early, self.lower, self.upper, self.root)

    def test_known_links(self) -> None:
        """A link is verified once for all GPUs, and a broken one is not remembered."""
        known: set[bytes] = set()
        chain = self.leaf, self.lower, self.upper, self.root
        self.check(*chain, known=known)
        self.assertEqual(len(known), 4)
        self.check(Issued("leaf", self.lower, ca=None), *chain[1:], known=known)
        self.assertEqual(len(known), 5)
        other = Issued("leaf", Issued("lower", self.upper))
        with self.assertRaises(RefusedError):
            self.check(other, *chain[1:], known=known)
        self.assertEqual(len(known), 5)

    def test_known_by_issuer(self) -> None:
        """A link that holds says nothing about the same certificate under another issuer."""
        known: set[bytes] = set()
        self.check(self.leaf, self.lower, self.upper, self.root, known=known)
        for chain in (
            (self.leaf, Issued("lower", self.upper), self.upper, self.root),
            (self.leaf, self.lower, self.upper, self.upper, self.root),
        ):
            self.refused(Refusal.GPU_CHAIN, lambda given=chain: self.check(*given, known=known))

    def test_texts(self) -> None:
        """A chain is PEM of at most eight certificates."""
        pem = self.leaf.pem
        self.assertEqual(read_chain(pem + b"\n" + self.root.pem)[1], self.root.certificate)
        self.assertEqual(len(read_chain(pem * 8)), 8)
        self.refused(Refusal.GPU_CHAIN, read_chain, pem * 9)
        self.assertEqual(len(read_chain(pem.ljust(65_536))), 1)
        self.refused(Refusal.GPU_CHAIN, read_chain, pem.ljust(65_537))
        for text in (b"", b"x", pem[:-20], pem.replace(b"MII", b"AAA"), pem[28:]):
            self.refused(Refusal.GPU_MALFORMED, read_chain, text)

    def test_leaf_key(self) -> None:
        """Two devices have different keys."""
        self.assertEqual(leaf_key(genuine_chain()), leaf_key(genuine_chain()))
        self.assertNotEqual(leaf_key(genuine_chain()), leaf_key([self.leaf.certificate]))

    def test_unknown_key(self) -> None:
        """A leaf with a key of an unknown kind identifies no device."""
        der = self.leaf.certificate.public_bytes(Encoding.DER)
        elliptic = bytes.fromhex("06072a8648ce3d0201")
        self.assertEqual(der.count(elliptic), 1)
        unknown = load_der_x509_certificate(der.replace(elliptic, elliptic[:-1] + b"\x63"))
        self.refused(Refusal.GPU_MALFORMED, leaf_key, [unknown])
