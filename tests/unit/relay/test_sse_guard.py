"""The guard of a response, by its kind."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.relay.meaning import Meaning
from autopilot.relay.sse_guard import GuardLevel, PlainGuard, stream_guard
from tests.unit.relay.guarded import BARE, HELLO, guard_at, relayed_by


class PassthroughTests(SynchronousTestCase):
    """Where nothing is guarded."""

    def test_off(self) -> None:
        """Bytes alone, also those of a broken stream."""
        for made in (
            guard_at(GuardLevel.OFF),
            stream_guard(GuardLevel.STRICT, is_stream=False, dialect=Dialect.COMPLETIONS),
        ):
            self.assertEqual(relayed_by(made, HELLO + BARE), HELLO + BARE)
            self.assertIsNone(made.fault)
            self.assertTrue(made.at_boundary)
            self.assertTrue(made.done)


class PlainTests(SynchronousTestCase):
    """JSON documents, which pass unchanged; only their meaning is kept."""

    def test_meanings(self) -> None:
        """The meaning is that of the whole, wherever the document was cut."""
        for document, meaning in (
            (b"", Meaning.EMPTY),
            (b'{"choices":[{"finish_reason":"stop"}]}', Meaning.CONTENT),
            (b'{"error":"boom"}', Meaning.ERROR),
            (b'{"error":{"code":400}}', Meaning.OWN_ERROR),
            (b'{"detail":"boom"}', Meaning.ERROR),
            (b'{"choices":[{"finish_reason":"abort"}]}', Meaning.GAVE_UP),
        ):
            for at in range(len(document) + 1):
                guard = PlainGuard()
                passed = b"".join(guard.feed(part) for part in (document[:at], document[at:]))
                self.assertEqual((passed, guard.end(), guard.ended), (document, b"", False))
                self.assertIs(guard.meaning, meaning)

    def test_bounded(self) -> None:
        """A document over 64 KiB is taken for an answer, and no longer kept."""
        guard = PlainGuard()
        guard.feed(b'{"error":"')
        for _ in range(70):
            self.assertEqual(guard.feed(b"x" * 1000), b"x" * 1000)
        guard.feed(b'"}')
        self.assertIs(guard.meaning, Meaning.CONTENT)
        self.assertIsNone(guard._document)
