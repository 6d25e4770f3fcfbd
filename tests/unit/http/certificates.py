"""Certificates of a trusted authority whose names a client cannot read or must not accept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

_SAN = x509.oid.ExtensionOID.SUBJECT_ALTERNATIVE_NAME

UNREADABLE: tuple[x509.ExtensionType | None, ...] = (
    None,
    x509.SubjectAlternativeName([x509.DNSName("*")]),
    x509.SubjectAlternativeName([x509.DNSName("*.com")]),
    x509.SubjectAlternativeName([x509.DNSName("")]),
    x509.SubjectAlternativeName([x509.RFC822Name("admin@localhost")]),
    x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.DNSName("*")]),
    x509.UnrecognizedExtension(_SAN, b"\xff\x00"),
)
"""The ``subjectAltName`` of each certificate; `None` is a certificate without one."""


def issued(authority: trustme.CA, names: x509.ExtensionType | None) -> trustme.LeafCert:
    """Return a certificate with this ``subjectAltName``, and ``localhost`` as its common name."""
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    signer = load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    certificate = builder.sign(signer, hashes.SHA256())
    return trustme.LeafCert(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        certificate.public_bytes(Encoding.PEM),
        [],
    )
