"""Selectors with padding, and long lists."""

from __future__ import annotations

import json

from tests.rigs.hold.input import KIB, MB, Input, Wire
from tests.rigs.hold.wire import ALIAS, CHAT, numbered, post

_REFUSED = frozenset({400})
_ANY = frozenset({200, 400})


def _named(model: str, *members: str) -> bytes:
    fields = "".join(f",{each}" for each in members)
    return b'{"model":%b,"messages":[]%b}' % (json.dumps(model).encode(), fields.encode())


def _asks(model: str, times: int = 1) -> Wire:
    """Return a request, or as many with one byte more of padding each."""
    if times == 1:
        return lambda: post(_named(model))
    bodies = (_named(" " * number + model) for number in range(times))
    return lambda: b"".join(post(body).replace(b"Connection: close\r\n", b"") for body in bodies)


def _input(name: str, request: Wire, **changes: object) -> Input:
    values: dict[str, object] = {"answers": _ANY, **changes}
    return Input(family="selectors", name=name, request=request, **values)  # type: ignore[arg-type]


def _padded(number: int) -> Wire:
    return lambda: post(_named(" " * number + ALIAS))


INPUTS = (
    _input(
        "the alias behind 60 KiB of blanks",
        _padded(60 * KIB),
        connections=10,
        setups=("own", "embedded"),
    ),
    _input("the alias behind 1 MB of blanks", _padded(MB), answers=_REFUSED),
    _input("1 MB of blanks behind the alias", lambda: post(_named(ALIAS + " " * MB))),
    _input("1 MB of blanks alone", lambda: post(_named(" " * MB)), answers=_REFUSED),
    _input("a list with 1 MB of commas", lambda: post(_named("acme/one" + "," * MB))),
    _input("a list of 30,000 names", lambda: post(_named(numbered("n{},", 30_000).decode()))),
    _input("a list of 300,000 names", lambda: post(_named(numbered("n{},", 300_000).decode()))),
    _input("a list of 8 names of 7 KiB", lambda: post(_named(",".join(["x" * 7 * KIB] * 8)))),
    _input("an unknown name of 60 KiB", lambda: post(_named("acme/" + "o" * 60 * KIB))),
    _input(
        "8 unknown names like many others",
        lambda: post(_named(",".join(f"acme/othre-{number}" for number in range(8)))),
        connections=10,
        answers=_REFUSED,
        setups=("2000 models",),
    ),
    _input("1 MB of suffixes", lambda: post(_named(ALIAS + ":latency" * (MB // 8)))),
    _input(
        "models: 8 texts of 100 KB",
        lambda: post(_named("acme/one", '"models":' + json.dumps(["x" * 100_000] * 8))),
    ),
    _input(
        "a conversation of 1 MB in a field of the body",
        lambda: post(_named(ALIAS, '"session_id":' + json.dumps("s" * MB))),
    ),
    _input(
        "60 conversations with fields of 250 bytes",
        lambda: post(_named(ALIAS), CHAT, "x-session-id: " + "s" * 250),
        connections=60,
        setups=("own", "embedded"),
    ),
)
