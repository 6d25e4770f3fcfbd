"""The check of a running router: it is alive, and ready for traffic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred, gatherResults
from twisted.web.iweb import IAgent

from autopilot.cli import remedies
from autopilot.cli.check_result import CheckResult, CheckState
from autopilot.cli.router import Router
from autopilot.http.fetch_error import FetchError, FetchFault

_CHECK: Final = "router"
_MAX_DETAIL: Final = 200
_ANOTHER: Final = "Another program answers there: give --router the address of a router."
_DRAINING: Final = "It is about to stop: check the one that takes its place."
_UNREADY: Final = (
    "Run `autopilot check` where the router runs, with its settings: a feed is missing or too old."
)
_FAULTS: Final = {
    FetchFault.REFUSED: "Start the router (`autopilot run`), or correct the port of --router.",
    FetchFault.TLS: (
        "Name the authority of its certificate in UPSTREAM_CA_FILE, or give --router the operators'"
        " port, which has no TLS."
    ),
    FetchFault.NOT_HTTP: (
        "Another program answers, or the router speaks TLS: check scheme and port of --router."
    ),
}


async def check_router(
    agent: IAgent, reactor: Any, base: str, timeout: float
) -> Sequence[CheckResult]:
    """Fetch /healthz and /readyz at the same time."""
    router = Router(agent, reactor, base, timeout)
    checks = [Deferred.fromCoroutine(each) for each in (_healthz(router), _readyz(router))]
    results: list[CheckResult] = await gatherResults(checks)
    return results


async def _healthz(router: Router) -> CheckResult:
    path = "/healthz"
    try:
        answer = await router.ask(path)
    except FetchError as error:
        return _not_asked(path, error)
    if answer.status != 200:
        return CheckResult(_CHECK, path, CheckState.FAIL, f"status {answer.status}", _ANOTHER)
    return CheckResult(_CHECK, path, CheckState.OK, "the process serves")


async def _readyz(router: Router) -> CheckResult:
    path = "/readyz"
    try:
        answer = await router.ask(path)
    except FetchError as error:
        return _not_asked(path, error)
    body = _object(answer.body)
    if answer.status == 200 and body.get("status") == "ready":
        return CheckResult(_CHECK, path, CheckState.OK, f"ready: {_feeds(body)}")
    reason = body.get("error")
    code, message = (
        (reason.get("code"), reason.get("message")) if isinstance(reason, dict) else (None, None)
    )
    if isinstance(code, str) and isinstance(message, str):
        detail = f"not ready: {code}: {message} {_feeds(body)}"
        remedy = _DRAINING if code == "draining" else _UNREADY
        return CheckResult(_CHECK, path, CheckState.FAIL, detail[:_MAX_DETAIL], remedy)
    return CheckResult(
        _CHECK,
        path,
        CheckState.FAIL,
        f"status {answer.status} with a body that no router sends",
        _ANOTHER,
    )


def _not_asked(path: str, error: FetchError) -> CheckResult:
    remedy = _FAULTS.get(error.fault) if error.fault is not None else None
    remedy = remedy or remedies.of_fetch(error, "--router")
    return CheckResult(_CHECK, path, CheckState.FAIL, str(error), remedy)


def _feeds(body: Mapping[str, Any]) -> str:
    """Return the states of both feeds, without the members that are missing or malformed."""
    feeds = body.get("feeds")
    parts = [f"{body.get('candidates', '?')} candidates"]
    for name, feed in feeds.items() if isinstance(feeds, dict) else ():
        if isinstance(feed, dict):
            age = feed.get("age_ms")
            seconds = f", {age / 1000:.0f} s old" if isinstance(age, int | float) else ""
            failed = feed.get("last_error")
            error = f", last refresh failed: {failed}" if isinstance(failed, str) else ""
            parts.append(f"{name} {feed.get('state', '?')}{seconds}{error}")
    return "; ".join(parts)


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
