"""The client of the smoke run: parsing of responses, and transcripts."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.smoke.client import Exchange, chunked, parse
from tests.rigs.smoke.transcripts import Transcripts, Vault, slug

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n"


class ParseTests(SynchronousTestCase):
    """Parsing of a response from its bytes."""

    def test_incomplete_head(self) -> None:
        """There is no reply before the end of the head."""
        self.assertIsNone(parse(HEAD[:-1]))

    def test_chunks(self) -> None:
        """Chunks are joined; only the last chunk makes the end clean."""
        wire = HEAD + chunked(b"hello, world", 5)
        whole = parse(wire)
        assert whole is not None
        self.assertEqual((whole.status, whole.body, whole.clean), (200, b"hello, world", True))
        self.assertEqual(whole.header("x-a"), "b")
        for length in range(len(HEAD), len(wire)):
            part = parse(wire[:length])
            assert part is not None
            self.assertFalse(part.clean, length)
            self.assertTrue(b"hello, world".startswith(part.body), length)

    def test_length(self) -> None:
        """A body shorter than its Content-Length is not clean."""
        wire = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 5\r\n\r\nhello"
        self.assertEqual([getattr(parse(wire[:-n]), "clean", None) for n in (1, 2)], [False] * 2)
        whole = parse(wire)
        assert whole is not None
        self.assertTrue(whole.clean)
        self.assertIsNone(whole.code)

    def test_neither(self) -> None:
        """A body that only the end of the connection delimits is never clean."""
        reply = parse(b"HTTP/1.1 200 OK\r\n\r\nhello")
        assert reply is not None
        self.assertEqual((reply.body, reply.clean), (b"hello", False))


class TranscriptTests(SynchronousTestCase):
    """Transcripts on disk."""

    def test_tokens_are_left_out(self) -> None:
        """No transcript contains a token, whichever side sent it."""
        vault = Vault()
        token = vault.new_token().encode()
        self.assertTrue(vault.found_in(b"x" + token[4:36]))
        exchange = Exchange.__new__(Exchange)
        exchange.sent, exchange.received = b"Bearer " + token, b"you said " + token
        folder = Path(self.mktemp())
        Transcripts(folder, vault).keep(exchange)
        kept = [path.read_bytes() for path in sorted(folder.iterdir())]
        self.assertEqual(kept, [b"Bearer [redacted]", b"you said [redacted]"])

    def test_slug(self) -> None:
        """A folder's name consists of letters, digits and dashes."""
        self.assertEqual(slug("List, 503: no retry"), "list-503-no-retry")
