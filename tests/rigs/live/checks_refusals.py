"""Checks that the platform refuses requests before a model generates a token."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.rigs.live.check import Check, Cost
from tests.rigs.live.model_choice import NO_CHUTE, NOBODY, NOBODY_EITHER, Cast, NoSuchModelError
from tests.rigs.live.request import CHAT, Ask, Auth, tiny

_LONG_PROMPT = 160_000


def _chat(cast: Cast, *, auth: Auth = Auth.KEY, stream: bool = False, **members: Any) -> Ask:
    """Return the usual request with some members changed."""
    return Ask(auth=auth, body=tiny(cast.usual().name, stream=stream, **members))


def _null_stream(cast: Cast) -> Ask:
    return Ask(body=tiny(cast.usual().name, stream=None))


def _for(_cast: Cast, *, model: Any, path: str = CHAT) -> Ask:
    """Return the usual request for a model of some kind."""
    return Ask(path=path, body=tiny(model, path=path))


def _without_model(_cast: Cast) -> Ask:
    body = json.loads(tiny("-"))
    del body["model"]
    return Ask(body=json.dumps(body).encode())


def _tee_only(cast: Cast) -> Ask:
    return Ask(headers=(("X-TEE-Only", "true"),), body=tiny(cast.not_tee().name))


def _gzipped(cast: Cast) -> Ask:
    packed = gzip.compress(tiny(cast.usual().name), mtime=0)
    return Ask(headers=(("Content-Encoding", "gzip"),), body=packed)


def _overlong(cast: Cast) -> Ask:
    said = [{"role": "user", "content": "a " * _LONG_PROMPT}]
    return Ask(body=tiny(cast.usual().name, messages=said))


def _root(cast: Cast) -> Ask:
    """Return the name of a model's weights, if no model has that name."""
    names = {each.name for each in cast.models}
    root = next((each.root for each in cast.models if each.root not in names), None)
    if root is None:
        raise NoSuchModelError("the catalog has no such name")
    return Ask(body=tiny(root))


def _refused(name: str, what: str, build: Callable[[Cast], Ask], **more: Any) -> Check:
    return Check(id=name, what=what, cost=Cost.REFUSED, build=build, **more)


CHECKS: tuple[Check, ...] = (
    _refused("auth-wrong", "a bearer that is neither key nor JWT", partial(_chat, auth=Auth.WRONG)),
    _refused("auth-malformed", "a key without its parts", partial(_chat, auth=Auth.MALFORMED),
             on_request=True),
    _refused("auth-unknown", "a key of no account", partial(_chat, auth=Auth.UNKNOWN),
             likes=("401-unknown",), on_request=True),
    _refused("unknown-model", "a model that does not exist", partial(_for, model=NOBODY)),
    _refused("unknown-list", "a list of models that do not exist",
             partial(_for, model=f"{NOBODY},{NOBODY_EITHER}")),
    _refused("no-default", "`default`, for an account without that alias",
             partial(_for, model="default")),
    _refused("missing-model", "a body without `model`", _without_model, on_request=True),
    _refused("model-number", "a `model` that is a number", partial(_for, model=7), on_request=True),
    _refused("stream-null", "`stream` null", _null_stream),
    _refused("stream-options-null", "`stream_options` null in a stream",
             lambda cast: _chat(cast, stream=True, stream_options=None), on_request=True),
    _refused("not-json", "a body that is not JSON", lambda _cast: Ask(body=b"{")),
    _refused("not-an-object", "a body that is a list", lambda _cast: Ask(body=b"[]"),
             on_request=True),
    _refused("gzip-body", "a compressed body", _gzipped),
    _refused("no-such-path", "a path that no model serves",
             lambda cast: _for(cast, model=cast.usual().name, path="/v1/embeddings")),
    _refused("tee-only", "X-TEE-Only and a model that is not TEE", _tee_only),
    _refused("engine-error", "a temperature that no engine takes",
             lambda cast: _chat(cast, temperature=-5), likes=("400-engine-object",)),
    _refused("nobodys-chute", "the id of a chute that does not exist",
             partial(_for, model=NO_CHUTE), on_request=True),
    _refused("root-name", "a model by the name of its weights", _root, on_request=True),
    _refused("tokenize", "a path of the engines", lambda cast: _for(
        cast, model=cast.usual().name, path="/tokenize"), on_request=True),
    _refused("api-key", "X-API-Key instead of a bearer", partial(_chat, auth=Auth.API_KEY),
             on_request=True),
    Check(id="context", what="a prompt that exceeds the context", cost=Cost.PROMPT,
          build=_overlong, likes=("400-context", "400-context-sglang"), on_request=True),
)  # fmt: skip

# The edge probably answers this call, and its rate limit ends the run, so it comes last.
LAST: tuple[Check, ...] = (
    _refused("anonymous", "a call without a key", partial(_chat, auth=Auth.NONE)),
)
