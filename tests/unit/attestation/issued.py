"""Certificates of a test's own authority, such as the chain of a GPU."""

from __future__ import annotations

import datetime
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import (
    BasicConstraints,
    CertificateBuilder,
    Name,
    NameAttribute,
    ObjectIdentifier,
    UnrecognizedExtension,
    random_serial_number,
)
from cryptography.x509.oid import NameOID

_DEVICE_INFORMATION = ObjectIdentifier("2.23.133.5.4.1")
YEAR = datetime.timedelta(days=365)
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class Issued:
    """A certificate, with its key, from an issuer or self-signed."""

    def __init__(
        self,
        name: str,
        issuer: Issued | None = None,
        *,
        ca: bool | None = True,
        length: int | None = None,
        key: ec.EllipticCurvePrivateKey | None = None,
        public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | None = None,
        start: datetime.datetime = START,
        information: bytes | None = None,
    ) -> None:
        self.name = Name([NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = key or ec.generate_private_key(ec.SECP384R1())
        by = issuer or self
        builder = (
            CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(by.name)
            .public_key(public or self.key.public_key())
            .serial_number(random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + YEAR)
        )
        if ca is not None:
            builder = builder.add_extension(BasicConstraints(ca, length if ca else None), True)
        if information is not None:
            extension = UnrecognizedExtension(_DEVICE_INFORMATION, information)
            builder = builder.add_extension(extension, False)
        self.certificate = builder.sign(by.key, SHA384())

    @property
    def pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)


def fingerprint(root: Issued) -> bytes:
    """Return the hash that a root is known by."""
    return sha256(root.certificate.public_bytes(Encoding.DER)).digest()
