"""Kinds of bodies, by the response head."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.response_parser import ResponseHead
from autopilot.relay.body_kind import BodyKind, body_kind, is_coded, opening_kind


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

    def test_coded(self) -> None:
        """The head says that a body is coded, or its first bytes show it; none is not."""
        for coded, length, opening, expected in (
            (True, None, b"", True),
            (True, 9, b"{", True),
            (True, 0, b"", False),
            (False, None, b"\x1f\x8b", True),
            (False, None, b"\x28\xb5\x2f\xfd", True),
            (False, 9, b"{}", False),
            (False, None, b"", False),
        ):
            head = ResponseHead(200, b"", (), "text/plain", length, coded)
            self.assertIs(is_coded(head, opening), expected, (head, opening))

    def test_unlabelled(self) -> None:
        """Where a stream was asked for, types that say nothing leave it to the first bytes."""
        for content_type, coded, expected in (
            ("", False, BodyKind.UNLABELLED),
            ("text/plain", False, BodyKind.UNLABELLED),
            ("application/octet-stream", False, BodyKind.UNLABELLED),
            ("text/plain", True, BodyKind.OPAQUE),
            ("text/html", False, BodyKind.OPAQUE),
            ("application/json", False, BodyKind.JSON),
            ("text/event-stream", False, BodyKind.STREAM),
        ):
            head = ResponseHead(200, b"", (), content_type, None, coded)
            self.assertIs(body_kind(head, stream=True), expected, head)
        nothing = ResponseHead(200, b"", (), "", 0)
        self.assertIs(body_kind(nothing, stream=True), BodyKind.JSON)

    def test_openings(self) -> None:
        """The first bytes tell a stream and JSON from everything else, or are too few."""
        mark = b"\xef\xbb\xbf"
        for openings, expected in (
            ((b"data: x", b"data:", b"data\n", b": ping", b":", b"event: e", b"id:1"), "STREAM"),
            ((b"\r\n\ndata: x", mark + b"data: x", b"retry: 1", b"event\r"), "STREAM"),
            ((b"{", b' [{"error"', mark + b"\n{"), "JSON"),
            (
                (b"<html>", b"Internal", b"database", b"evening", b"data2:", b"\x1f", b"\x28"),
                "OPAQUE",
            ),
            ((b"\n" * 5000, b"\xef\xbbx", b"\xff"), "OPAQUE"),
        ):
            for opening in openings:
                self.assertIs(opening_kind(opening), BodyKind[expected], opening)
        for opening in (
            b"",
            b"d",
            b"dat",
            b"data",
            b"ev",
            b"i",
            b"\n ",
            mark[:1],
            mark,
            mark + b"re",
        ):
            self.assertIsNone(opening_kind(opening), opening)
