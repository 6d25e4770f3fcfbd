"""Checks that the platform refuses requests before a model generates a token."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.rigs.live.check import Check, Cost
from tests.rigs.live.model_choice import (
    NO_CHUTE,
    OTHER_UNKNOWN_MODEL,
    UNKNOWN_MODEL,
    ModelChoice,
    NoSuchModelError,
)
from tests.rigs.live.request import CHAT, Auth, LiveRequest, tiny

_LONG_PROMPT = 160_000


def _chat(
    choice: ModelChoice, *, auth: Auth = Auth.KEY, stream: bool = False, **members: Any
) -> LiveRequest:
    """Return the usual request with some members changed."""
    return LiveRequest(auth=auth, body=tiny(choice.usual().name, stream=stream, **members))


def _null_stream(choice: ModelChoice) -> LiveRequest:
    return LiveRequest(body=tiny(choice.usual().name, stream=None))


def _for(_cast: ModelChoice, *, model: Any, path: str = CHAT) -> LiveRequest:
    """Return the usual request for a model of some kind."""
    return LiveRequest(path=path, body=tiny(model, path=path))


def _without_model(_cast: ModelChoice) -> LiveRequest:
    body = json.loads(tiny("-"))
    del body["model"]
    return LiveRequest(body=json.dumps(body).encode())


def _tee_only(choice: ModelChoice) -> LiveRequest:
    return LiveRequest(headers=(("X-TEE-Only", "true"),), body=tiny(choice.not_tee().name))


def _gzipped(choice: ModelChoice) -> LiveRequest:
    packed = gzip.compress(tiny(choice.usual().name), mtime=0)
    return LiveRequest(headers=(("Content-Encoding", "gzip"),), body=packed)


def _overlong(choice: ModelChoice) -> LiveRequest:
    said = [{"role": "user", "content": "a " * _LONG_PROMPT}]
    return LiveRequest(body=tiny(choice.usual().name, messages=said))


def _root(choice: ModelChoice) -> LiveRequest:
    """Return the name of a model's weights, if no model has that name."""
    names = {each.name for each in choice.models}
    root = next((each.root for each in choice.models if each.root not in names), None)
    if root is None:
        raise NoSuchModelError("the catalog has no such name")
    return LiveRequest(body=tiny(root))


def _refused(
    name: str, what: str, build: Callable[[ModelChoice], LiveRequest], **more: Any
) -> Check:
    return Check(id=name, what=what, cost=Cost.REFUSED, build=build, **more)


CHECKS: tuple[Check, ...] = (
    _refused("auth-wrong", "a bearer that is neither key nor JWT", partial(_chat, auth=Auth.WRONG)),
    _refused("auth-malformed", "a key without its parts", partial(_chat, auth=Auth.MALFORMED),
             on_request=True),
    _refused("auth-unknown", "a key of no account", partial(_chat, auth=Auth.UNKNOWN),
             accepted=("401-unknown",), on_request=True),
    _refused("unknown-model", "a model that does not exist", partial(_for, model=UNKNOWN_MODEL)),
    _refused("unknown-list", "a list of models that do not exist",
             partial(_for, model=f"{UNKNOWN_MODEL},{OTHER_UNKNOWN_MODEL}")),
    _refused("no-default", "`default`, for an account without that alias",
             partial(_for, model="default")),
    _refused("missing-model", "a body without `model`", _without_model, on_request=True),
    _refused("model-number", "a `model` that is a number", partial(_for, model=7), on_request=True),
    _refused("stream-null", "`stream` null", _null_stream),
    _refused("stream-options-null", "`stream_options` null in a stream",
             lambda choice: _chat(choice, stream=True, stream_options=None), on_request=True),
    _refused("not-json", "a body that is not JSON", lambda _cast: LiveRequest(body=b"{")),
    _refused("not-an-object", "a body that is a list", lambda _cast: LiveRequest(body=b"[]"),
             on_request=True),
    _refused("gzip-body", "a compressed body", _gzipped),
    _refused("no-such-path", "a path that no model serves",
             lambda choice: _for(choice, model=choice.usual().name, path="/v1/embeddings")),
    _refused("tee-only", "X-TEE-Only and a model that is not TEE", _tee_only),
    _refused("engine-error", "a temperature that no engine takes",
             lambda choice: _chat(choice, temperature=-5), accepted=("400-engine-object",)),
    _refused("nobodys-chute", "the id of a chute that does not exist",
             partial(_for, model=NO_CHUTE), on_request=True),
    _refused("root-name", "a model by the name of its weights", _root, on_request=True),
    _refused("tokenize", "a path of the engines", lambda choice: _for(
        choice, model=choice.usual().name, path="/tokenize"), on_request=True),
    _refused("api-key", "X-API-Key instead of a bearer", partial(_chat, auth=Auth.API_KEY),
             on_request=True),
    Check(id="context", what="a prompt that exceeds the context", cost=Cost.PROMPT,
          build=_overlong, accepted=("400-context", "400-context-sglang"), on_request=True),
)  # fmt: skip

# The edge probably answers this call, and its rate limit ends the run, so it comes last.
LAST: tuple[Check, ...] = (
    _refused("anonymous", "a call without a key", partial(_chat, auth=Auth.NONE)),
)
