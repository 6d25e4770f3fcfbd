"""The raw bytes of every exchange, on disk, without the secrets that were sent along."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from tests.rigs.smoke.client import Exchange

_REDACTED = b"[redacted]"


class Vault:
    """The tokens of this run. They are made here, and removed from all that is kept."""

    def __init__(self) -> None:
        self._tokens: list[bytes] = []

    def new_token(self) -> str:
        """A bearer token in the platform's shape."""
        token = f"cpk_{secrets.token_hex(16)}.{secrets.token_hex(16)}.{secrets.token_hex(16)}"
        self._tokens.append(token.encode())
        return token

    def redact(self, data: bytes) -> bytes:
        """The same bytes without any token."""
        for token in self._tokens:
            data = data.replace(token, _REDACTED)
        return data

    def found_in(self, data: bytes) -> bool:
        """Whether a token is in there, or a good part of one."""
        return any(part in data for token in self._tokens for part in token[4:].split(b"."))


class Transcripts:
    """One folder for a scenario; one pair of files for an exchange."""

    def __init__(self, folder: Path, vault: Vault) -> None:
        self.folder = folder
        self._vault = vault
        self._count = 0

    def keep(self, exchange: Exchange) -> None:
        """Write what was sent and what was received."""
        self._count += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        for kind, data in (("request", exchange.sent), ("response", exchange.received)):
            path = self.folder / f"{self._count:02d}-{kind}.http"
            path.write_bytes(self._vault.redact(data))


def slug(name: str) -> str:
    """A name fit for a folder."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
