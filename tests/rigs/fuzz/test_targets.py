"""Every target, run over its seeds and some mutations of them; and evidence that each can fail.

This is not fuzzing, which takes time and atheris (`make fuzz`). It keeps the targets working, and
repeats the earlier findings of the fuzzer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation import evidence_parser
from autopilot.feeds import parsers
from autopilot.http.response_parser import ResponseParser
from autopilot.relay import event_guard
from autopilot.relay.commit import CommitDecision, FirstContent
from autopilot.relay.proxy import Proxy
from autopilot.relay.sse import Events
from autopilot.relay.sse_guard import GuardLevel
from autopilot.relay.stream import Stream
from autopilot.request import body as request_body
from autopilot.request import usage_option
from autopilot.request.body import BodyTemplate
from autopilot.routing import ranking
from autopilot.web.root import RootResource
from tests.rigs.fuzz.events import WATCHES, events, with_watch
from tests.rigs.fuzz.mutations import mutations
from tests.rigs.fuzz.pieces import Pieces, joined, single
from tests.rigs.fuzz.targets import FOUND, TARGETS, Target

_MUTATIONS = 300
_GROWING = 20
"""Mutations of inputs that grow, which take longer."""


class PiecesTests(SynchronousTestCase):
    """Encoding and decoding of inputs."""

    def test_anything(self) -> None:
        """Every input can be decoded, and no piece is empty."""
        for data in (b"", b"\x07", b"\x00\x02\x00", b"\x00\x01\xff\xffab", bytes(range(256))):
            self.assertTrue(all(Pieces.of(data).pieces))

    def test_joined(self) -> None:
        """Reads are cut at their boundaries."""
        self.assertEqual(Pieces.of(joined([b"ab", b"c", b"def"], 9)), (9, (b"ab", b"c", b"def")))
        self.assertEqual(Pieces.of(joined([b"ab"])).whole, b"ab")

    def test_single(self) -> None:
        """Each byte is a piece of its own."""
        self.assertEqual(Pieces.of(single(b"abc", 1)), (1, (b"a", b"b", b"c")))


class TargetTests(SynchronousTestCase):
    """No seed violates a guarantee."""

    def check(self, target: Target) -> None:
        """Run a target over all its seeds, and over mutations of the small ones."""
        seeds = list(target.seeds())
        small = [seed for seed in seeds if len(seed) <= target.largest]
        count = _MUTATIONS if target.size is len else _GROWING
        for data in (*seeds, *mutations(small, target.tokens, count)):
            try:
                target.run(data)
            except Exception as error:
                error.add_note(f"given {data!r}")
                raise

    def test_found_in_streams(self) -> None:
        """A finding in a stream is tried with every guard and limit, as it may have been any's."""
        self.assertEqual(len(GuardLevel), 3)
        for path in sorted((FOUND / "events").iterdir()):
            for number in range(WATCHES):
                events(with_watch(path.read_bytes(), number))

    def test_found(self) -> None:
        """Every earlier finding belongs to a target."""
        if FOUND.is_dir():
            self.assertLessEqual({each.name for each in FOUND.iterdir()}, set(TARGETS))


def _checks(target: Target) -> Callable[[TargetTests], None]:
    def test(self: TargetTests) -> None:
        self.check(target)

    test.__doc__ = target.run.__doc__
    return test


for _target in TARGETS.values():
    setattr(TargetTests, f"test_{_target.name}", _checks(_target))


class FailureTests(SynchronousTestCase):
    """Each target complains if a part of the router misbehaves."""

    def fails(self, name: str, where: Any, what: str, wrong: object) -> None:
        """Check that a seed makes the target complain when ``wrong`` replaces ``what``."""
        target = TARGETS[name]
        with patch.object(where, what, wrong):
            self.assertTrue(any(self.complains(target, seed) for seed in target.seeds()))
        self.flushLoggedErrors()

    def complains(self, target: Target, data: bytes) -> bool:
        """Return whether the target raises."""
        try:
            target.run(data)
        except Exception:  # noqa: BLE001  any exception is a complaint
            return True
        return False

    def test_client_logged_failure(self) -> None:
        """A failure that the router logs and answers."""

        def accept(*_: object) -> None:
            raise RuntimeError("a bug")

        self.fails("client", Proxy, "accept", accept)

    def test_client_exception(self) -> None:
        """An exception raised by the site."""
        self.fails("client", RootResource, "getChildWithDefault", None)

    def test_client_other_bytes(self) -> None:
        """A request body changed on its way upstream."""
        right = BodyTemplate.pieces
        self.fails("client", BodyTemplate, "pieces", lambda *given: (*right(*given), b" "))

    def test_upstream_broken_looks_whole(self) -> None:
        """A truncated response that ends cleanly for the client."""
        self.fails("upstream", Stream, "broken", lambda it, _: it.end())

    def test_upstream_byte_lost(self) -> None:
        """A byte of the body that is not relayed."""
        right = ResponseParser.on_body
        self.fails("upstream", ResponseParser, "on_body", lambda it, data: right(it, data[1:]))

    def test_upstream_interim_body(self) -> None:
        """The body of an interim response that becomes part of the final response."""
        self.fails("upstream", ResponseParser, "on_body", lambda it, data: it._chunks.append(data))

    def test_body_member_lost(self) -> None:
        """A member that is not forwarded."""
        right = request_body._kept
        self.fails("body", request_body, "_kept", lambda *given: right(*given)[-1:])

    def test_body_asking(self) -> None:
        """A request for usage at the wrong place."""
        self.fails("body", usage_option, "_edit_options", lambda text: (0, 0, b'"x":1,'))

    def test_body_needs(self) -> None:
        """An exception while a body is parsed."""
        self.fails("body", request_body, "Conversation", None)

    def test_catalog_name(self) -> None:
        """A name that cannot be printed."""
        self.fails("catalog", parsers, "_is_name", lambda text: True)

    def test_utilization_score(self) -> None:
        """A score that is not a number."""
        right, no_number = ranking.score, float("inf")
        self.fails(
            "utilization", ranking, "score", lambda *given: replace(right(*given), score=no_number)
        )

    def test_evidence_exception(self) -> None:
        """Invalid Base64."""
        self.fails("evidence", evidence_parser, "_base64", lambda text: text.encode("ascii")[0])

    def test_events_cut(self) -> None:
        """A line that is lost at a chunk boundary."""

        def keep(self: Any, piece: bytes) -> None:
            self._line = bytearray(piece)

        self.fails("events", Events, "_keep", keep)

    def test_events_dial(self) -> None:
        """A commit policy without a decision."""
        self.fails("events", FirstContent, "end", lambda it: CommitDecision.HOLD)

    def test_events_guard(self) -> None:
        """A guard that drops what it held back."""
        self.fails("events", event_guard.EventGuard, "end", lambda it: b"")
