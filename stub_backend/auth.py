"""The platform's checks of credentials, applied if the options require authentication."""

from __future__ import annotations

import hashlib

from stub_backend.log import Received
from stub_backend.problem import Problem

REVOKED = "revoked"
NO_SCOPE = "noscope"


def unauthorised(record: Received) -> Problem | None:
    """Return why a call is rejected, or None if its credential is accepted.

    Any well-formed key is accepted unless its last part is `REVOKED`, and any OAuth token unless it
    ends with `NO_SCOPE`. `X-API-Key` is ignored.
    """
    if record.header("x-chutes-hotkey") is not None:
        return _hotkey(record)
    given = (record.header("authorization") or "").split()
    if not given:
        return Problem(401, "Authentication required.")
    token = given[-1]
    if token.startswith("cpk_"):
        return _key(token)
    if token.startswith("cak_"):
        problem = Problem(403, "Token does not have permission for this resource")
        return problem if token.endswith(NO_SCOPE) else None
    jwt = token.startswith("ey") and token.count(".") == 2
    return Problem(401, "Token expired." if jwt else "Invalid token.")


def signature(hotkey: str, nonce: str, body: bytes) -> str:
    """Return the stub's substitute for a hotkey's signature; it covers the body."""
    signed = f"{hotkey}:{nonce}:{hashlib.sha256(body).hexdigest()}"
    return hashlib.sha256(signed.encode()).hexdigest()


def _key(token: str) -> Problem | None:
    parts = token.split(".")
    if len(parts) != 3:
        return Problem(401, "Missing or invalid authorization header(s)")
    return Problem(401, "Invalid token or user not found") if parts[2] == REVOKED else None


def _hotkey(record: Received) -> Problem | None:
    hotkey = record.header("x-chutes-hotkey") or ""
    nonce = record.header("x-chutes-nonce") or ""
    if not nonce.isdigit():
        return Problem(401, "Invalid nonce!")
    if record.header("x-chutes-signature") != signature(hotkey, nonce, record.body):
        return Problem(401, "Invalid signature!")
    return None
