"""Whether the platform takes the key of this environment, by one cheap call."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Final

from twisted.web.iweb import IAgent

from autopilot.cli.verdict import State, Verdict
from autopilot.http.fetch import Fetcher
from autopilot.http.fetch_error import FetchError
from autopilot.upstream.pool import Origin

_SUBJECT: Final = "CHUTES_API_KEY"
_MAX_BYTES: Final = 1024 * 1024


async def check_key(agent: IAgent, reactor: Any, base: str, key: str, timeout: float) -> Verdict:
    """Ask whose key it is; the answer's body is not looked at."""
    key = key.strip()
    if not key:
        return _verdict(State.SKIP, "not set; clients bring their own keys")
    if not key.isascii() or not key.isprintable() or " " in key:
        return _verdict(State.FAIL, "it cannot be a key: it has blanks or odd characters")
    origin = Origin.of(base)
    if not (origin.secure or _is_loopback(origin.host)):
        return _verdict(State.SKIP, "not sent, because API_BASE_URL is not https")
    fetcher = Fetcher(agent, reactor, timeout, _MAX_BYTES)
    try:
        answer = await fetcher.ask(f"{base}/users/me", authorization=f"Bearer {key}")
    except FetchError as error:
        return _verdict(State.FAIL, f"the platform could not be asked: {error}")
    if answer.status == 200:
        return _verdict(State.OK, "the platform takes it")
    if answer.status in (401, 403):
        return _verdict(State.FAIL, f"the platform refuses it (status {answer.status})")
    if answer.status == 429:
        return _verdict(State.WARN, "not known: the platform limits calls just now (status 429)")
    return _verdict(State.FAIL, f"not known: the platform answered with status {answer.status}")


def _verdict(state: State, detail: str) -> Verdict:
    return Verdict("key", _SUBJECT, state, detail)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
