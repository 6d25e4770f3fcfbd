"""The stub backend as a platform that repeats every secret it receives.

``python -m tests.process.secrets.telltale`` runs it. The scenarios respond as usual. In addition
each head quotes the client's key and sets cookies, and each body, of errors and invalid responses
too, quotes what the client sent. Secrets of the platform's own, from the environment, are added.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import chain, repeat
from typing import Any, cast

from stub_backend import feeds, scenarios, tree
from stub_backend.__main__ import main
from stub_backend.answers import shapes
from stub_backend.call import Call
from stub_backend.feeds import FeedMode, Feeds
from stub_backend.scenario import Scenario, streamed
from stub_backend.steps import Head, Headers, Raw, Send, Step, Steps

NOTE = "CANARY_NOTE"
"""Names the variable with the text that the platform adds to every response."""

FEED_PATH = "CANARY_FEED_PATH"
"""Names the variable with a second path of the catalog."""

_IN_FULL = 4  # Later steps quote only the note, because the responses would reach megabytes.

MARK = b"x-upstream-note"
"""A field of each of this platform's heads, which the router never creates."""


def drip(call: Call) -> Steps:
    """Stream for as long as the client reads."""
    events = call.dialect.stream(call.generation())
    tokens = list(events.tokens)
    return streamed(call, chain(events.opening, tokens, repeat(tokens[-1], 2000)), pause=0.02)


def quoting(answer: Callable[[Call], Steps], note: str) -> Callable[[Call], Steps]:
    """Return the response with everything that the client sent quoted in it."""

    def quoted(call: Call) -> Steps:
        sent = " ".join(f"{name}={value}" for name, value in call.headers)
        text = f"{note} {sent} {json.dumps(call.body)}"
        fields = _fields(call.headers, note)
        steps = enumerate(answer(call))
        return (_quote(step, text if at < _IN_FULL else note, fields) for at, step in steps)

    return quoted


def _fields(sent: Headers, note: str) -> Headers:
    given = {name.lower(): value for name, value in sent}
    key = given.get("authorization", "")
    return (
        (MARK.decode(), note),
        ("set-cookie", f"session={note}; Path=/"),
        ("www-authenticate", f'Bearer realm="{key}"'),
        ("x-your-key", key),
    )


def _quote(step: Step, text: str, fields: Headers) -> Step:
    match step:
        case Head(status, headers):
            kept = tuple(field for field in headers if field[0] != "content-length")
            return Head(status, kept + fields)
        case Send(data):
            return Send(_said(data, text))
        case Raw(data) if data.startswith(b"HTTP/"):
            line, _, rest = data.partition(b"\r\n")
            lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
            return Raw(line + b"\r\n" + lines.encode() + rest)
        case Raw(data):
            return Raw(data + text.encode())
    return step


def _said(data: bytes, text: str) -> bytes:
    """Return the body with ``text``: as a member of its first object, or after an HTML page."""
    member = b'{"quoted":%b,"' % json.dumps(text).encode()
    quoted = data.replace(b'{"', member, 1)
    # The only error text that the router copies into an event of its own.
    quoted = quoted.replace(b"response stream: ", b"response stream: " + text.encode()[:40], 1)
    return quoted + text.encode() if data.lstrip().startswith(b"<") else quoted


def _plant(note: str, feed_path: str) -> None:
    """Replace the stub's scenarios in this process."""
    shapes.BIG_EVENT_BYTES = 100_000
    table = cast("dict[str, Scenario]", scenarios.SCENARIOS)
    assert "drip" not in table
    table["drip"] = Scenario("drip", "a stream without an end", drip)
    for name, scenario in table.items():
        table[name] = replace(scenario, answer=quoting(scenario.answer, note))
    tree.FEED_PATHS[feed_path] = "models"
    behave = Feeds.answer

    def answer(self: Feeds, feed: str) -> Steps:
        steps = behave(self, feed)
        if self.modes[feed] in (FeedMode.OK, FeedMode.EMPTY):
            return steps
        return (_quote(step, note, ((MARK.decode(), note),)) for step in steps)

    cast(Any, feeds.Feeds).answer = answer


if __name__ == "__main__":
    _plant(os.environ[NOTE], os.environ[FEED_PATH])
    sys.exit(main(sys.argv[1:]))
