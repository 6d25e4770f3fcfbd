"""The checks of files with certificates and keys in PEM, before anything listens or connects."""

from __future__ import annotations

import os
import stat
from enum import Enum, auto

_BEGIN = b"-----BEGIN CERTIFICATE-----"


class PairFault(Enum):
    """What is wrong with a certificate and its key."""

    CERTIFICATE = auto()
    WEAK = auto()
    KEY = auto()
    MISMATCH = auto()


def holds_certificates(path: str) -> bool:
    """Return whether a file holds a certificate, and nothing that looks like one and is none."""
    import ssl  # takes 10 ms, and most routers have no such file

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (OSError, ValueError):  # an SSLError is an OSError
        return False
    return True


def count_certificates(path: str) -> int:
    """Return the number of certificates in a file; 0 if something in it looks like one and is none.

    Unlike a set of authorities, the file may hold one that signs nothing.
    """
    if not holds_certificates(path):
        return 0
    with open(path, "rb") as file:
        return file.read().count(_BEGIN)


def fault_of(cert_file: str | None, key_file: str | None) -> PairFault | None:
    """Return what is wrong with a certificate and its key, or None; also if one is missing."""
    if cert_file is None or key_file is None:
        return None
    if not holds_certificates(cert_file):
        return PairFault.CERTIFICATE
    import ssl

    try:
        # With a password, OpenSSL does not ask for one on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_file, key_file, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return PairFault.MISMATCH
        weak = str(error.reason).endswith(("_TOO_SMALL", "_TOO_WEAK"))
        return PairFault.WEAK if weak else PairFault.KEY
    except (OSError, ValueError):
        return PairFault.KEY
    return None


def is_readable_by_all(path: str) -> bool:
    """Return whether every user of this host can read a file, as far as its own mode says."""
    try:
        return bool(os.stat(path).st_mode & stat.S_IROTH)
    except OSError:
        return False
