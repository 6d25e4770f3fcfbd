"""The check of a running router: it is alive, and ready for traffic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred, gatherResults
from twisted.web.iweb import IAgent

from autopilot.cli.check_result import CheckResult, CheckState
from autopilot.cli.router import Router
from autopilot.http.fetch_error import FetchError

_CHECK: Final = "router"
_MAX_DETAIL: Final = 200


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
        return CheckResult(_CHECK, path, CheckState.FAIL, str(error))
    if answer.status != 200:
        return CheckResult(_CHECK, path, CheckState.FAIL, f"status {answer.status}")
    return CheckResult(_CHECK, path, CheckState.OK, "the process serves")


async def _readyz(router: Router) -> CheckResult:
    path = "/readyz"
    try:
        answer = await router.ask(path)
    except FetchError as error:
        return CheckResult(_CHECK, path, CheckState.FAIL, str(error))
    body = _object(answer.body)
    if answer.status == 200 and body.get("status") == "ready":
        return CheckResult(_CHECK, path, CheckState.OK, f"ready: {_feeds(body)}")
    reason = body.get("error")
    code, message = (
        (reason.get("code"), reason.get("message")) if isinstance(reason, dict) else (None, None)
    )
    if isinstance(code, str) and isinstance(message, str):
        detail = f"not ready: {code}: {message} {_feeds(body)}"
        return CheckResult(_CHECK, path, CheckState.FAIL, detail[:_MAX_DETAIL])
    return CheckResult(
        _CHECK, path, CheckState.FAIL, f"status {answer.status} with a body that no router sends"
    )


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
