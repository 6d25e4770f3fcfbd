"""Files with the raw bytes of every exchange, without the tokens that were sent."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from tests.rigs.smoke.client import Exchange

_REDACTED = b"[redacted]"


class Vault:
    """The tokens of this run: creates them, and removes them from all transcripts."""

    def __init__(self) -> None:
        self._tokens: list[bytes] = []

    def new_token(self) -> str:
        """Return a new bearer token in the platform's format."""
        token = f"cpk_{secrets.token_hex(16)}.{secrets.token_hex(16)}.{secrets.token_hex(16)}"
        self._tokens.append(token.encode())
        return token

    def redact(self, data: bytes) -> bytes:
        """Return the bytes without any token."""
        for token in self._tokens:
            data = data.replace(token, _REDACTED)
        return data

    def found_in(self, data: bytes) -> bool:
        """Return whether the bytes contain a token, or a long part of one."""
        return any(part in data for token in self._tokens for part in token[4:].split(b"."))


class Transcripts:
    """A folder for each scenario, with a pair of files for each exchange."""

    def __init__(self, folder: Path, vault: Vault) -> None:
        self.folder = folder
        self._vault = vault
        self._count = 0

    def keep(self, exchange: Exchange) -> None:
        """Write the bytes that were sent and those that were received."""
        self._count += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        for kind, data in (("request", exchange.sent), ("response", exchange.received)):
            path = self.folder / f"{self._count:02d}-{kind}.http"
            path.write_bytes(self._vault.redact(data))


def slug(name: str) -> str:
    """Return a name that is suitable for a folder."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
