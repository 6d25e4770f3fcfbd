"""The check of ``CHUTES_API_KEY``: one cheap request shows whether the platform accepts it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Final

from twisted.web.iweb import IAgent

from autopilot.cli import remedies
from autopilot.cli.check_result import CheckResult, CheckState
from autopilot.http.fetch import Fetcher
from autopilot.http.fetch_error import FetchError
from autopilot.upstream.pool import Origin

_SUBJECT: Final = "CHUTES_API_KEY"
_MAX_BYTES: Final = 1024 * 1024
_REJECTED: Final = {
    401: (
        "the platform rejects it",
        "Set CHUTES_API_KEY to the whole key; if it is no longer valid, create another one.",
    ),
    402: (
        "the platform accepts it, but its account has no balance",
        "Add to the balance of the account.",
    ),
    403: (
        "the platform does not let it read its account",
        "A key with few permissions may still be good for requests: run `autopilot try` with it.",
    ),
}


async def check_key(
    agent: IAgent, reactor: Any, base: str, key: str, timeout: float
) -> CheckResult:
    """Request the key's account; only the status counts, because the body is personal data."""
    key = key.strip()
    if not key:
        return _result(CheckState.SKIP, "not set; clients send their own keys")
    if not key.isascii() or not key.isprintable() or " " in key:
        return _result(
            CheckState.FAIL,
            "not a valid key: it contains blanks, control or non-ASCII characters",
            remedies.KEY,
        )
    if not may_receive_key(base):
        return _result(CheckState.SKIP, "not sent, because API_BASE_URL is not https")
    fetcher = Fetcher(agent, reactor, timeout, _MAX_BYTES)
    try:
        answer = await fetcher.ask(f"{base}/users/me", authorization=f"Bearer {key}")
    except FetchError as error:
        detail = f"the request to the platform failed: {error}"
        return _result(CheckState.FAIL, detail, remedies.of_fetch(error, "API_BASE_URL"))
    return _of_status(answer.status)


def _of_status(status: int) -> CheckResult:
    if status == 200:
        return _result(CheckState.OK, "the platform accepts it")
    if status == 429:
        return _result(
            CheckState.WARN,
            "unknown: the platform rate-limits requests at present (status 429)",
            "Check again in a minute.",
        )
    if status in _REJECTED:
        what, remedy = _REJECTED[status]
        return _result(CheckState.FAIL, f"{what} (status {status})", remedy)
    detail = f"unknown: the platform answered with status {status}"
    return _result(CheckState.FAIL, detail, remedies.of_status(status, "API_BASE_URL"))


def _result(state: CheckState, detail: str, remedy: str = "") -> CheckResult:
    return CheckResult("key", _SUBJECT, state, detail, remedy)


def may_receive_key(base: str) -> bool:
    """Return whether a key may be sent to a base URL: over TLS, or within this machine."""
    origin = Origin.of(base)
    return origin.secure or is_loopback(origin.host)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
