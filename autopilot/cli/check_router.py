"""Whether a running router serves, and whether it wants traffic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred, gatherResults
from twisted.web.iweb import IAgent

from autopilot.cli.router import Router
from autopilot.cli.verdict import State, Verdict
from autopilot.http.fetch_error import FetchError

_CHECK: Final = "router"
_LONGEST: Final = 200


async def check_router(agent: IAgent, reactor: Any, base: str, timeout: float) -> Sequence[Verdict]:
    """Ask for both pages at once."""
    router = Router(agent, reactor, base, timeout)
    asked = [Deferred.fromCoroutine(each) for each in (_healthz(router), _readyz(router))]
    verdicts: list[Verdict] = await gatherResults(asked)
    return verdicts


async def _healthz(router: Router) -> Verdict:
    path = "/healthz"
    try:
        answer = await router.ask(path)
    except FetchError as error:
        return Verdict(_CHECK, path, State.FAIL, str(error))
    if answer.status != 200:
        return Verdict(_CHECK, path, State.FAIL, f"status {answer.status}")
    return Verdict(_CHECK, path, State.OK, "the process serves")


async def _readyz(router: Router) -> Verdict:
    path = "/readyz"
    try:
        answer = await router.ask(path)
    except FetchError as error:
        return Verdict(_CHECK, path, State.FAIL, str(error))
    said = _object(answer.body)
    if answer.status == 200 and said.get("status") == "ready":
        return Verdict(_CHECK, path, State.OK, f"ready: {_feeds(said)}")
    reason = said.get("error")
    code, message = (
        (reason.get("code"), reason.get("message")) if isinstance(reason, dict) else (None, None)
    )
    if isinstance(code, str) and isinstance(message, str):
        detail = f"not ready: {code}: {message} {_feeds(said)}"
        return Verdict(_CHECK, path, State.FAIL, detail[:_LONGEST])
    return Verdict(
        _CHECK, path, State.FAIL, f"status {answer.status}, and not the answer of a router"
    )


def _feeds(said: Mapping[str, Any]) -> str:
    """The feeds' states, as far as they can be read."""
    feeds = said.get("feeds")
    parts = [f"{said.get('candidates', '?')} candidates"]
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
