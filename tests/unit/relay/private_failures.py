"""The ways in which one instance fails a private request, and what the router makes of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from tests.unit.relay.private import CAPACITY, PrivateRouterTestCase, detail
from tests.unit.relay.upstreams import SSE, TOKEN, chunk, head, whole

Does = Callable[[PrivateRouterTestCase], None]


class Failing(NamedTuple):
    """One way, as the platform or the instance ``does`` it to a call.

    ``sibling``: another instance of the model is tried; ``told``: what keeps the instances learns.
    ``code`` is that of the error if nothing is left, and ``cools``: it counts against the model.
    """

    name: str
    does: Does
    reason: str
    code: str
    sibling: bool = True
    told: str | None = None
    cools: bool = True


def says(*pieces: bytes, ends: str = "") -> Does:
    """Send this, after which the connection ``ends``."""

    def does(test: PrivateRouterTestCase) -> None:
        test.wire.says(*pieces)
        if ends:
            getattr(test.wire, ends)()

    return does


def _bad_tag(test: PrivateRouterTestCase) -> None:
    init, event = test.call.events(TOKEN)
    test.wire.says(head(), chunk(init), chunk(event.replace(b'"}', b'AAAA"}')))


def _is_cut(test: PrivateRouterTestCase) -> None:
    (init,) = test.call.events()
    test.wire.says(head(), chunk(init))
    test.wire.resets()


def _is_silent(test: PrivateRouterTestCase) -> None:
    test.clock.advance(60)


FAILURES: Final = (
    Failing("capacity", says(CAPACITY), "capacity", "private_unavailable"),
    Failing(
        "gone",
        says(detail(404, "Instance not found")),
        "instance_gone",
        "private_unavailable",
        told="vanished",
    ),
    Failing(
        "key changed",
        says(detail(400, '{"detail":"E2E decryption failed"}')),
        "instance_gone",
        "private_unavailable",
        told="key_changed",
    ),
    Failing(
        "trouble",
        says(detail(500, "Instance returned status 500")),
        "status_500",
        "private_unavailable",
    ),
    Failing(
        "stream only",
        says(detail(400, "Non-streaming E2E requests require chutes >= 0.5.27 for vLLM chutes.")),
        "not_served",
        "private_unsupported",
        cools=False,
    ),
    Failing(
        "chute gone",
        says(detail(404, "Chute not found")),
        "not_found",
        "private_unavailable",
        sibling=False,
    ),
    Failing("bad tag", _bad_tag, "reply_invalid", "private_reply_invalid"),
    Failing("not sealed", says(whole(200, b"{}")), "reply_invalid", "private_reply_invalid"),
    Failing(
        "redirection",
        says(whole(307, b"", SSE, b"Location: http://elsewhere.test")),
        "reply_invalid",
        "private_reply_invalid",
    ),
    Failing(
        "truncated",
        says(head(), chunk(b"")),
        "no_terminator",
        "upstream_stream_interrupted",
    ),
    Failing("cut", _is_cut, "cut", "upstream_stream_interrupted"),
    Failing("lost", says(ends="resets"), "connection_lost", "upstream_connect_error"),
    # Its allowance ends first, and that leads to the next model.
    Failing("silent", _is_silent, "header_timeout", "upstream_header_timeout", sibling=False),
)
"""Those of a call that was sent."""

UNSENT: Final = ("not_attested", "discovery")
"""The reasons of attempts without an instance."""

ONCE_MORE: Final = "nonce_refused"
"""That of one whose nonce was refused twice."""
