"""The certificate authority and server certificate of the TLS upstream, new for each run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: the authority that clients trust, and the server's chain and key."""

    authority: Path
    chain: Path
    key: Path


def issue(folder: Path) -> Certificates:
    """Create them in `folder`, for `localhost` and its address."""
    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(made.authority))
    server = authority.issue_cert("localhost", "127.0.0.1")
    server.private_key_pem.write_to_path(str(made.key))
    for number, part in enumerate(server.cert_chain_pems):
        part.write_to_path(str(made.chain), append=number > 0)
    return made
