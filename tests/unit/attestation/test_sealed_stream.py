"""Tests of sealed streams: the vectors, each hostile stream, and any cut of the wire."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.sealed_stream import REMEMBERED_NONCES, StreamFault, StreamOpener
from autopilot.attestation.sealing import ResponseKey
from tests.unit.attestation.sealed import Sealer, event, response_key, sealed_stream, vectors

TEXT, DONE = b'data: {"choices":[]}\n\n', b"data: [DONE]\n\n"


def opened(opener: StreamOpener, *chunks: bytes) -> bytes:
    """Feed chunks and the end of the connection; return all plain bytes."""
    plain = b"".join(map(opener.feed, chunks))
    opener.end()
    return plain


def result(opener: StreamOpener) -> tuple[str, dict[str, int]]:
    """Return how a stream ended, and its plain events, in the words of the vectors."""
    end = "clean" if opener.ended and opener.fault is None else str(opener.fault)
    return end, {str(kind): count for kind, count in opener.plain.items()}


class VectorTests(SynchronousTestCase):
    """Streams as the platform's own package seals and opens them."""

    def test_streams(self) -> None:
        """Each stream gives its exact plain text, with or without plain usage events."""
        for each in vectors()["streams"]:
            for wire in (each["wire_usage_dropped"], each["wire_usage_passed"]):
                opener = StreamOpener(response_key(each["response_key"]))
                self.assertEqual(opened(opener, wire.encode()), each["plain_text"].encode())
                end, plain = result(opener)
                self.assertEqual((end, plain.keys() - {"usage"}), ("clean", set()))
        self.assertEqual(len(vectors()["streams"]), 5)

    def test_hostile_streams(self) -> None:
        """Each hostile stream relays what is required, and ends for its own reason."""
        for each in vectors()["hostile_streams"]:
            expected = each["expect"]
            opener = StreamOpener(response_key())
            plain = opened(opener, each["wire"].encode())
            self.assertEqual(plain, expected["relayed"].encode(), each["name"])
            self.assertEqual(result(opener), (expected["end"], expected["ignored"]), each["name"])
        self.assertEqual(len(vectors()["hostile_streams"]), 25)

    @settings(max_examples=200)
    @given(st.data())
    def test_any_cut(self, data: st.DataObject) -> None:
        """The plain text and the fault of a stream do not depend on its chunks."""
        streams, hostile = vectors()["streams"], vectors()["hostile_streams"]
        every = [(each["wire_usage_passed"], each["plain_text"]) for each in streams]
        every += [(each["wire"], each["expect"]["relayed"]) for each in hostile]
        wire, relayed = data.draw(st.sampled_from(every))
        raw = wire.encode()
        places = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))
        whole, cut = StreamOpener(response_key()), StreamOpener(response_key())
        chunks = (raw[a:b] for a, b in zip([0, *places], [*places, len(raw)], strict=True))
        self.assertEqual(opened(cut, *chunks), relayed.encode())
        opened(whole, raw)
        self.assertEqual(result(cut), result(whole))

    def test_byte_by_byte(self) -> None:
        """A stream may arrive in single bytes."""
        for each in vectors()["streams"]:
            opener = StreamOpener(response_key(each["response_key"]))
            wire = each["wire_usage_passed"].encode()
            chunks = (wire[at : at + 1] for at in range(len(wire)))
            self.assertEqual(opened(opener, *chunks), each["plain_text"].encode())

    @settings(max_examples=200)
    @given(st.data())
    def test_flipped_bits(self, data: st.DataObject) -> None:
        """A flipped bit of the wire adds no byte: it stops the stream, or drops one event."""
        stream = data.draw(st.sampled_from(vectors()["streams"]))
        pieces = [b64decode(each["plain_b64"]) for each in stream["events"]]
        wire = bytearray(stream["wire_usage_dropped"].encode())
        bit = data.draw(st.integers(0, len(wire) * 8 - 1))
        wire[bit // 8] ^= 1 << bit % 8
        opener = StreamOpener(response_key(stream["response_key"]))
        plain = opened(opener, bytes(wire))
        count = len(pieces)
        allowed = {b"".join(pieces[:stop]) for stop in range(count + 1)}
        allowed |= {b"".join(pieces[:at] + pieces[at + 1 :]) for at in range(count)}
        self.assertIn(plain, allowed)

    @settings(max_examples=100)
    @given(st.data())
    def test_flipped_seals(self, data: st.DataObject) -> None:
        """A flipped bit in a sealed value opens nothing, and stops the stream."""
        stream = vectors()["streams"][0]
        sealed = [b64decode(each["e2e_b64"]) for each in stream["events"]]
        # The last one is the blank line after the end, which is not opened.
        at = data.draw(st.integers(0, len(sealed) - 2))
        changed = bytearray(sealed[at])
        bit = data.draw(st.integers(0, len(changed) * 8 - 1))
        changed[bit // 8] ^= 1 << bit % 8
        sealed[at] = bytes(changed)
        opener = StreamOpener(response_key())
        begin = event("e2e_init", b64decode(stream["init_b64"]))
        plain = opened(opener, begin, *(event("e2e", each) for each in sealed))
        self.assertIs(opener.fault, StreamFault.BAD_SEAL)
        before = [b64decode(each["plain_b64"]) for each in stream["events"][:at]]
        self.assertEqual(plain, b"".join(before))


class OpenerTests(SynchronousTestCase):
    """Rules of a stream that the vectors do not reach."""

    def setUp(self) -> None:
        """Make a key and an opener."""
        self.key = ResponseKey()
        self.opener = StreamOpener(self.key)

    def stream(self, *pieces: bytes) -> list[bytes]:
        """Return the events of a stream for the key."""
        return sealed_stream(self.key.text, *pieces)

    def stopped(self, fault: StreamFault, *chunks: bytes) -> bytes:
        """Return what chunks give before they cause a fault, after which nothing follows."""
        plain = b"".join(map(self.opener.feed, chunks))
        self.assertIs(self.opener.fault, fault)
        self.assertFalse(self.opener.ended)
        self.assertEqual(self.opener.feed(b"".join(self.stream(TEXT, DONE))), b"")
        self.opener.end()
        self.assertIs(self.opener.fault, fault)
        return plain

    def test_before_the_fault(self) -> None:
        """What opened before a fault in the same chunk is returned, and nothing behind it."""
        first, text, _ = self.stream(TEXT, TEXT)
        wire = first + text + event("e2e", bytes(40)) + text
        self.assertEqual(self.stopped(StreamFault.BAD_SEAL, wire), TEXT)

    def test_pieces(self) -> None:
        """The end is recognized in whatever pieces it is sealed."""
        for pieces in (
            (TEXT, DONE),
            (TEXT, b"data: [DONE]\n"),
            (TEXT + DONE + TEXT,),
            (TEXT, b"data: [DO", b"NE]", b"\n\n"),
            tuple(bytes((byte,)) for byte in TEXT + DONE),
            (TEXT[:-1], b"\ndata:", b" [DONE]\n"),
            (TEXT, b"data: [DONE]", b"\n"),
        ):
            opener = StreamOpener(self.key)
            self.assertEqual(opened(opener, *self.stream(*pieces)), TEXT + DONE, pieces)
            self.assertEqual(result(opener), ("clean", {}))

    def test_spellings_of_the_end(self) -> None:
        """The line may have other blanks, and CR LF."""
        longest = b"data:" + b" " * 21 + b"[DONE]\n"
        for line in (b"data:[DONE]\n", b"data: [DONE]\r\n", b"data:  [DONE] \n", longest):
            opener = StreamOpener(self.key)
            self.assertEqual(opened(opener, *self.stream(line)), line + b"\n")
            self.assertTrue(opener.ended)
        opener = StreamOpener(self.key)
        pieces = longest[:-1], b"\n"
        self.assertEqual(opened(opener, *self.stream(*pieces)), longest + b"\n")
        self.assertTrue(opener.ended)

    def test_no_end(self) -> None:
        """A text in an answer, a cut line or a comment does not end a stream."""
        for text in (
            b'data: {"content":"[DONE]"}\n\n',
            b'data: {"content":"data: [DONE]"}\n\n',
            b": [DONE]\n\n",
            b"event: [DONE]\n\n",
            b"xdata: [DONE]\n\n",
            b"data:\t[DONE]\n\n",
            b"data: X[DONE]X\n\n",
            b"data:" + b" " * 22 + b"[DONE]\n\n",
            b"data: [DONE",
            b"data: [DONE]",
            b"data:" + b" " * 40 + b"[DONE]\n\n",
        ):
            opener = StreamOpener(self.key)
            self.assertEqual(opened(opener, *self.stream(text)), text)
            self.assertIs(opener.fault, StreamFault.TRUNCATED)
        opener = StreamOpener(self.key)
        pieces = (b"data:" + b" " * 27 + b"x", b"[DONE]\n")
        self.assertEqual(opened(opener, *self.stream(*pieces)), b"".join(pieces))
        self.assertFalse(opener.ended)

    def test_nothing_after_the_end(self) -> None:
        """After the sealed end, nothing is opened, counted or a fault."""
        first, done, text = self.stream(DONE, TEXT)
        self.assertEqual(opened(self.opener, first + done + text, text, first, b"data: x\n"), DONE)
        self.assertEqual(result(self.opener), ("clean", {}))

    def test_repeated(self) -> None:
        """A nonce of the last 1024 events may not come again; an older one is not remembered."""
        sealer = Sealer(self.key.text, b"e2e-stream-v1")
        begin = event("e2e_init", sealer.ciphertext)
        old = [event("e2e", sealer.piece(TEXT)) for _ in range(REMEMBERED_NONCES + 1)]
        opener = StreamOpener(self.key)
        opener.feed(begin + b"".join(old))
        self.assertEqual(opener.feed(old[0]), TEXT)
        self.assertIsNone(opener.fault)
        self.assertEqual(opener.feed(old[2]), b"")
        self.assertIs(opener.fault, StreamFault.REPEATED)

    def test_long_line(self) -> None:
        """A line that exceeds the limit stops the stream, complete or not, in any chunks."""
        first, text = self.stream(TEXT)
        limit = len(first) - 2
        for chunks in ([first, text], [first[:-1], b"\n", text], [first[:-2], b"\n\n", text]):
            opener = StreamOpener(self.key, limit)
            self.assertEqual(b"".join(map(opener.feed, chunks)), TEXT)
            self.assertIsNone(opener.fault)
        for chunks in ([first], [first[:-2]], [first[:9], first[9:]]):
            opener = StreamOpener(self.key, limit - 1)
            self.assertEqual(b"".join(map(opener.feed, chunks)), b"")
            self.assertIs(opener.fault, StreamFault.TOO_LONG)

    def test_bad_beginnings(self) -> None:
        """A beginning that is no ciphertext in base64 stops the stream."""
        for value in (b'"!"', b'""', b"1", b"null", b"{}", b'"AAAA"'):
            self.opener = StreamOpener(self.key)
            self.stopped(StreamFault.BAD_INIT, b'data: {"e2e_init":%b}\n' % value)

    def test_bad_values(self) -> None:
        """A sealed value of another type or spelling stops the stream."""
        first, text = self.stream(TEXT)
        other = b64encode(bytes(28)).rstrip(b"=")
        for value in (b"1", b"null", b'""', b'"AAAA"', b'"\\n"', b'"%b"' % other):
            self.opener = StreamOpener(self.key)
            self.stopped(StreamFault.BAD_SEAL, first, b'data: {"e2e":%b}\n' % value)
        spelled = text.replace(b'"e2e"', b'"x":1, "e2e"').replace(b"data: ", b"data:")
        opener = StreamOpener(self.key)
        self.assertEqual(opener.feed(first + spelled), TEXT)
        followed = text.replace(b'"}', b'","x":"y"}')
        opener = StreamOpener(self.key)
        self.assertEqual(opener.feed(first + followed), TEXT)
        escaped = text.replace(b"/", b"\\/").replace(b'"e2e":"', b'"e2e":"', 1)
        opener = StreamOpener(self.key)
        self.assertEqual(opener.feed(first + escaped), TEXT)

    def test_shortest_seal(self) -> None:
        """A seal of nothing is complete; a shorter value is not tried."""
        sealer = Sealer(self.key.text, b"e2e-stream-v1")
        begin, empty = event("e2e_init", sealer.ciphertext), sealer.piece(b"")
        self.assertEqual(self.opener.feed(begin + event("e2e", empty)), b"")
        self.assertIsNone(self.opener.fault)
        self.stopped(StreamFault.BAD_SEAL, event("e2e", empty[:27]))

    def test_plain_events(self) -> None:
        """Plain events are counted by kind, and none is returned."""
        lines = (
            b'{"usage":{"prompt_tokens":1}}',
            b'{"error":{"message":"canary"}}',
            b'{"e2e_error":"canary","usage":1}',
            b"[DONE]",
            b'{"choices":[]}',
            b"canary",
            b"[1]",
            b"X[DONE]X",
            b"\t[DONE]",
            b'{"a":' + b"[" * 5000,
        )
        wire = b"".join(b"data: %b\r\n\r\n" % line for line in lines)
        first, text, done = self.stream(TEXT, DONE)
        plain = opened(self.opener, wire + first + wire + text + b"data:\n: ping\nid: 1\n\n" + done)
        self.assertEqual(plain, TEXT + DONE)
        expected = {"usage": 2, "error": 4, "done": 2, "other": 12}
        self.assertEqual(result(self.opener), ("clean", expected))

    def test_repr(self) -> None:
        """The representation shows neither keys nor content."""
        first, text = self.stream(TEXT)
        self.opener.feed(first + text)
        self.assertEqual(repr(self.opener), "StreamOpener(ended=False, fault=None)")

    def test_releases(self) -> None:
        """A stream that ended holds no keys, nonces and bytes any more."""
        first, text, done = self.stream(TEXT, DONE)
        state: Any = self.opener
        self.opener.feed(first + text + b"data: {")
        self.assertIsNotNone(state._cipher)
        self.opener.feed(b"}\n" + done + b"rest")
        self.assertEqual(
            (state._key, state._cipher, bytes(state._line), state._nonces), (None, None, b"", {})
        )
