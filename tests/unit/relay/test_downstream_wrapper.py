"""Tests of a client's side around another one: what passes on, and what a filter holds back."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from autopilot.relay.downstream import CommittedHead, Downstream
from autopilot.relay.downstream_wrapper import DownstreamFilter, DownstreamWrapper
from autopilot.routing.router_error import RouterError
from tests.unit.relay.downstreams import RecordingDownstream, announcement

HEAD = CommittedHead(200, b"OK", [], streams=True)
ERROR = RouterError(502, "upstream_stream_interrupted", "")


class _Wrapper(DownstreamWrapper):
    """Changes nothing."""

    __slots__ = ()

    def __init__(self, response: Downstream) -> None:
        self._response = response


class _LineFilter(DownstreamFilter):
    """Holds back what is behind the last line end."""

    __slots__ = ("_held",)

    def __init__(self, response: Downstream) -> None:
        self._response = response
        self._held = b""

    def _filter(self, data: bytes) -> bytes:
        lines, end, self._held = (self._held + data).rpartition(b"\n")
        return lines + end

    def _rest(self) -> bytes:
        rest, self._held = self._held, b""
        return rest


class WrapperTests(SynchronousTestCase):
    """A wrapper that overrides nothing."""

    def setUp(self) -> None:
        """Wrap a client."""
        self.down = RecordingDownstream(Clock())
        self.wrapper: Downstream = _Wrapper(self.down)

    def test_every_call(self) -> None:
        """Nothing of the interface is left out."""
        names = {name for name in vars(Downstream) if not name.startswith("_")}
        self.assertEqual(len(names), 13)
        self.assertEqual({name for name in vars(DownstreamWrapper) if name[0] != "_"}, names)

    def test_what_is_known(self) -> None:
        """What the client's side knows is what it says."""
        self.assertEqual((self.wrapper.committed, self.wrapper.chunks), (False, True))
        self.assertIsNone(self.wrapper.unsent())
        self.down.modern, self.down.left = False, 7
        self.wrapper.commit(HEAD, b"")
        self.assertEqual((self.wrapper.committed, self.wrapper.chunks), (True, False))
        self.assertEqual(self.wrapper.unsent(), 7)

    def test_lent(self) -> None:
        """The deadline is the client's own, and so is the producer's place."""
        deadline = self.wrapper.timer(lambda: None)
        self.assertIs(deadline, self.down.timer(lambda: None))
        self.wrapper.commit(HEAD, b"")
        producer = StringTransport()
        self.wrapper.produce(producer)
        self.assertIs(self.down.producer, producer)

    def test_body(self) -> None:
        """The head and each piece of a body pass as they are, in as many writes."""
        self.wrapper.commit(HEAD, b"a")
        self.wrapper.write(b"b")
        self.wrapper.finish(b"c")
        self.assertIs(self.down.head, HEAD)
        self.assertEqual((self.down.writes, self.down.ended), ([b"a", b"b", b"c"], "finish"))

    def test_ends(self) -> None:
        """So does each end."""
        ends: tuple[tuple[str, Callable[[], None], bytes], ...] = (
            ("cut", lambda: self.wrapper.cut(), b"a"),
            ("abort", lambda: self.wrapper.abort(), b"a"),
            ("finish", lambda: self.wrapper.finish(b""), b"a"),
            ("cut", lambda: self.wrapper.announce(ERROR, b"o", b"l"), b"a" + announcement(ERROR)),
        )
        for ended, end, body in ends:
            self.setUp()
            self.wrapper.commit(HEAD, b"a")
            end()
            self.assertEqual((self.down.ended, self.down.body), (ended, body))
        self.assertEqual(self.down.announced, (b"o", b"l"))

    def test_at_once(self) -> None:
        """A response in one write, and an error in place of one, pass as well."""
        self.wrapper.whole(HEAD, b"body")
        self.assertEqual((self.down.body, self.down.ended), (b"body", "finish"))
        self.setUp()
        self.wrapper.refuse(ERROR)
        self.assertIs(self.down.refusal, ERROR)


class FilterTests(SynchronousTestCase):
    """A filter that lets whole lines pass."""

    def setUp(self) -> None:
        """Begin a response with half a line."""
        self.down = RecordingDownstream(Clock())
        self.filter: Downstream = _LineFilter(self.down)
        self.filter.commit(HEAD, b"a\nb")

    def test_held_back(self) -> None:
        """What does not pass is no write, not even an empty one."""
        self.assertEqual(self.down.writes, [b"a\n"])
        self.filter.write(b"c")
        self.assertEqual(self.down.writes, [b"a\n"])
        self.filter.write(b"\nd")
        self.assertEqual(self.down.writes, [b"a\n", b"bc\n"])

    def test_finish(self) -> None:
        """The last piece and what is held back are one write with the end."""
        self.filter.finish(b"c\nd")
        self.assertEqual((self.down.writes, self.down.ended), ([b"a\n", b"bc\nd"], "finish"))

    def test_cut(self) -> None:
        """What is held back is written before the cut, unless there is none."""
        self.filter.cut()
        self.assertEqual((self.down.writes, self.down.ended), ([b"a\n", b"b"], "cut"))
        self.setUp()
        self.filter.write(b"\n")
        self.filter.cut()
        self.assertEqual(self.down.writes, [b"a\n", b"b\n"])

    def test_announce(self) -> None:
        """What is held back is written before the error."""
        self.filter.announce(ERROR, b"o", b"l")
        self.assertEqual(self.down.writes, [b"a\n", b"b", announcement(ERROR)])
        self.assertEqual(self.down.announced, (b"o", b"l"))

    def test_abort(self) -> None:
        """A client that has left receives nothing more."""
        self.filter.abort()
        self.assertEqual((self.down.writes, self.down.ended), ([b"a\n"], "abort"))
