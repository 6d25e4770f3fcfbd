"""Kinds of bodies, by the response head."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.response_parser import ResponseHead
from autopilot.relay.body_kind import BodyKind, body_kind


class BodyKindTests(SynchronousTestCase):
    """What the head says of a body."""

    def test_kinds(self) -> None:
        """Streams and JSON are understood; other types, and whatever is coded, are not."""
        for content_type, length, coded, expected in (
            ("text/event-stream", None, False, BodyKind.STREAM),
            ("text/event-stream", None, True, BodyKind.OPAQUE),
            ("application/json", 9, False, BodyKind.JSON),
            ("application/problem+json", None, False, BodyKind.JSON),
            ("application/json", 9, True, BodyKind.OPAQUE),
            ("text/html", 9, False, BodyKind.OPAQUE),
            ("text/html", 0, False, BodyKind.JSON),
            ("", 0, False, BodyKind.JSON),
            ("", None, False, BodyKind.OPAQUE),
        ):
            head = ResponseHead(200, b"", (), content_type, length, coded)
            self.assertIs(body_kind(head), expected, head)
