"""Checks through the router: what its client receives from the real platform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.rigs.live.check import ANY_MODEL, Check, Cost
from tests.rigs.live.model_choice import Cast
from tests.rigs.live.request import Ask, Auth, Host, tiny

ALIAS = "chutesai/AutoPilot"


def _relayed(
    name: str,
    what: str,
    model: Callable[[Cast], str],
    *,
    cost: Cost = Cost.TINY,
    auth: Auth = Auth.KEY,
    stream: bool | None = False,
    members: dict[str, Any] | None = None,
    **more: Any,
) -> Check:
    def build(cast: Cast) -> Ask:
        body = tiny(model(cast), stream=stream, **(members or {}))
        return Ask(host=Host.ROUTER, auth=auth, body=body)

    return Check(id=f"relay-{name}", what=what, cost=cost, build=build, **more)


def _usual(cast: Cast) -> str:
    return cast.usual().name


def _both(cast: Cast) -> str:
    return f"{cast.usual().name},{cast.second().name}"


def _alias(cast: Cast) -> str:
    """Return a request for the alias, or for the model that takes every role, if there is one."""
    return cast.usual().name if cast.alone else ALIAS


def _tee_only(cast: Cast) -> Ask:
    """Return a request for the alias among TEE models, even if one model takes every role."""
    headers = () if cast.alone else (("X-TEE-Only", "true"),)
    return Ask(host=Host.ROUTER, headers=headers, body=tiny(_alias(cast)))


CHECKS: tuple[Check, ...] = (
    _relayed("stream", "one model by name, streamed", _usual, stream=True, likes=ANY_MODEL),
    _relayed("plain", "one model by name, in one piece", _usual, likes=ANY_MODEL),
    _relayed("alias", "the router's own choice, streamed", _alias, stream=True,
             likes=ANY_MODEL),
    _relayed("list", "a preference list", _both, likes=ANY_MODEL),
    _relayed("traps", "`stream` and `stream_options` null, which the router takes out", _usual,
             stream=None, members={"stream_options": None}, likes=ANY_MODEL),
    Check(id="relay-tee-only", what="X-TEE-Only, and the router's own choice", cost=Cost.TINY,
          build=_tee_only, likes=ANY_MODEL),
    _relayed("engine-error", "the engine's own error", _usual, cost=Cost.REFUSED,
             members={"temperature": -5}, likes=("400-engine-object",)),
    _relayed("auth-wrong", "a bearer token that is not a key", _usual, cost=Cost.REFUSED,
             auth=Auth.WRONG),
)  # fmt: skip
