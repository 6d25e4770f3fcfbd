"""Checks through the router: what its client receives from the real platform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.rigs.live.check import ANY_MODEL, Check, Cost
from tests.rigs.live.model_choice import ModelChoice
from tests.rigs.live.request import Auth, Host, LiveRequest, tiny

ALIAS = "chutesai/AutoPilot"


def _relayed(
    name: str,
    what: str,
    model: Callable[[ModelChoice], str],
    *,
    cost: Cost = Cost.TINY,
    auth: Auth = Auth.KEY,
    stream: bool | None = False,
    members: dict[str, Any] | None = None,
    **more: Any,
) -> Check:
    def build(choice: ModelChoice) -> LiveRequest:
        body = tiny(model(choice), stream=stream, **(members or {}))
        return LiveRequest(host=Host.ROUTER, auth=auth, body=body)

    return Check(id=f"relay-{name}", what=what, cost=cost, build=build, **more)


def _usual(choice: ModelChoice) -> str:
    return choice.usual().name


def _both(choice: ModelChoice) -> str:
    return f"{choice.usual().name},{choice.second().name}"


def _alias(choice: ModelChoice) -> str:
    """Return a request for the alias, or for the model that takes every role, if there is one."""
    return choice.usual().name if choice.alone else ALIAS


def _tee_only(choice: ModelChoice) -> LiveRequest:
    """Return a request for the alias among TEE models, even if one model takes every role."""
    headers = () if choice.alone else (("X-TEE-Only", "true"),)
    return LiveRequest(host=Host.ROUTER, headers=headers, body=tiny(_alias(choice)))


CHECKS: tuple[Check, ...] = (
    _relayed("stream", "one model by name, streamed", _usual, stream=True, accepted=ANY_MODEL),
    _relayed("plain", "one model by name, in one piece", _usual, accepted=ANY_MODEL),
    _relayed("alias", "the router's own choice, streamed", _alias, stream=True,
             accepted=ANY_MODEL),
    _relayed("list", "a preference list", _both, accepted=ANY_MODEL),
    _relayed("traps", "`stream` and `stream_options` null, which the router takes out", _usual,
             stream=None, members={"stream_options": None}, accepted=ANY_MODEL),
    Check(id="relay-tee-only", what="X-TEE-Only, and the router's own choice", cost=Cost.TINY,
          build=_tee_only, accepted=ANY_MODEL),
    _relayed("engine-error", "the engine's own error", _usual, cost=Cost.REFUSED,
             members={"temperature": -5}, accepted=("400-engine-object",)),
    _relayed("auth-wrong", "a bearer token that is not a key", _usual, cost=Cost.REFUSED,
             auth=Auth.WRONG),
)  # fmt: skip
