"""Tests of the files of certificates and keys: one line for each fault, before anything listens."""

from __future__ import annotations

import os
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings import Settings, SettingsError, load_settings, settings_warnings


class PairTests(SynchronousTestCase):
    """A certificate and its key."""

    def setUp(self) -> None:
        """Make a good pair, and another."""
        authority = trustme.CA()
        leaf, other = authority.issue_cert("router.test"), authority.issue_cert("router.test")
        self.chain = b"".join(each.bytes() for each in leaf.cert_chain_pems)
        self.key, self.other_key = leaf.private_key_pem.bytes(), other.private_key_pem.bytes()
        self.cert_file = self.written(self.chain)
        self.key_file = self.written(self.key)

    def written(self, content: bytes) -> str:
        """Write a file, and return its path."""
        path = Path(self.mktemp())
        path.write_bytes(content)
        path.chmod(0o600)
        return str(path)

    def problem(self, cert_file: str | None, key_file: str | None) -> str:
        """Return the one line about these files, or nothing."""
        try:
            load_settings({}, {"TLS_CERT_FILE": cert_file, "TLS_KEY_FILE": key_file}, {})
        except SettingsError as wrong:
            (line,) = wrong.problems
            return line
        return ""

    def test_good(self) -> None:
        """A pair is accepted: with its chain or without, in two files or one, or none at all."""
        both = self.written(self.key + self.chain)
        alone = self.written(self.chain[: self.chain.index(b"-----END") + 26])
        for cert_file, key_file in (
            (self.cert_file, self.key_file),
            (alone, self.key_file),
            (both, both),
            (None, None),
        ):
            self.assertEqual(self.problem(cert_file, key_file), "")

    def test_half(self) -> None:
        """One without the other is named."""
        self.assertEqual(
            self.problem(self.cert_file, None),
            "TLS_CERT_FILE: needs TLS_KEY_FILE; give the file of its key",
        )
        self.assertEqual(
            self.problem(None, self.key_file),
            "TLS_KEY_FILE: needs TLS_CERT_FILE; give the file of its certificate",
        )

    def test_faults(self) -> None:
        """Each fault names the file that has it, and nothing of the file's content."""
        key = load_pem_private_key(self.key, None)
        locked = key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2")
        )
        empty, broken = self.written(b""), self.written(self.chain[:200])
        no_certificate, no_key = "holds no certificate", "holds no key in PEM"
        for cert_file, key_file, name, text in (
            (empty, self.key_file, "TLS_CERT_FILE", no_certificate),
            (broken, self.key_file, "TLS_CERT_FILE", no_certificate),
            (self.key_file, self.key_file, "TLS_CERT_FILE", no_certificate),
            ("/no/such/file", self.key_file, "TLS_CERT_FILE", "is not a file"),
            (self.cert_file, "/no/such/file", "TLS_KEY_FILE", "is not a file"),
            (self.cert_file, empty, "TLS_KEY_FILE", no_key),
            (self.cert_file, self.cert_file, "TLS_KEY_FILE", no_key),
            (self.cert_file, self.written(self.key[:150]), "TLS_KEY_FILE", no_key),
            (self.cert_file, self.written(locked), "TLS_KEY_FILE", no_key),
            (self.cert_file, self.written(self.other_key), "TLS_KEY_FILE", "is not that of"),
        ):
            line = self.problem(cert_file, key_file)
            self.assertRegex(line, rf"\A{name}: [\x20-\x7e]+\Z", (cert_file, key_file))
            self.assertIn(text, line)

    def test_rsa(self) -> None:
        """A key of another kind does not fit either."""
        rsa_key = rsa.generate_private_key(65537, 2048).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        line = self.problem(self.cert_file, self.written(rsa_key))
        self.assertTrue(line.startswith("TLS_KEY_FILE: "), line)

    def test_readable_by_all(self) -> None:
        """A key that every user of the host can read is a warning; one that a group can, is not."""
        settings = Settings(tls_cert_file=self.cert_file, tls_key_file=self.key_file)
        for mode, warned in ((0o600, 0), (0o640, 0), (0o644, 1), (0o604, 1)):
            os.chmod(self.key_file, mode)
            found = [each for each in settings_warnings(settings) if "TLS_KEY_FILE" in each]
            self.assertEqual(len(found), warned, oct(mode))
        os.unlink(self.key_file)
        self.assertEqual(settings_warnings(settings), ())

    def test_authorities(self) -> None:
        """A file of authorities that holds none is one line too."""
        for content in (b"", b"x", self.key, self.chain[:200]):
            with self.assertRaises(SettingsError) as caught:
                Settings(upstream_ca_file=self.written(content))
            (line,) = caught.exception.problems
            self.assertEqual(line, "UPSTREAM_CA_FILE: the file holds no certificate in PEM")
        Settings(upstream_ca_file=self.cert_file)
