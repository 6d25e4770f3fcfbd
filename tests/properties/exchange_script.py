"""One upstream response of the exchange machine, byte by byte."""

from __future__ import annotations

from collections.abc import Sequence

from tests.properties.exchange_attempt import Read
from tests.properties.exchange_replies import Event, Framing, Piece, Reply
from tests.unit.relay.upstreams import chunk


class Script:
    """One response on the wire, with the meaning of each byte."""

    def __init__(self, reply: Reply, interim: bytes = b"") -> None:
        self.reply = reply
        self.over = False
        self._wire = interim
        self._given = self._at = 0
        self._size = 0
        self._tail: tuple[Event, ...] = ()
        self._spans: list[tuple[int, int]] = []
        self._facts: list[tuple[int, Read]] = []
        self._add(reply.wire, Read(reply))
        if reply.status == 204:
            self._end()

    @classmethod
    def garbage(cls, reply: Reply) -> Script:
        """Return bytes that are not HTTP from the first byte on."""
        script = cls(reply)
        script._wire, script._facts = b"", []
        script.garble()
        return script

    @property
    def pending(self) -> int:
        """The number of bytes not yet sent."""
        return len(self._wire) - self._given

    def take(self, size: int) -> bytes:
        """Take the next ``size`` bytes to send."""
        start, self._given = self._given, self._given + size
        return self._wire[start : self._given]

    @property
    def tail(self) -> tuple[Event, ...]:
        """Return what only the end completes, once everything before it has been read."""
        return self._tail if self._at == len(self._wire) else ()

    def say(self, pieces: Sequence[Piece]) -> None:
        """Append a part of the body."""
        for piece in pieces:
            start, self._size = self._size, self._size + len(piece.data)
            self._body(piece.data, Read(events=(Event(start, self._size, piece),)))

    def document(self) -> None:
        """Append the whole body of a response that is not a stream."""
        self._size += len(self.reply.document)
        if self.reply.document:
            self._body(self.reply.document, Read())

    def end(self, tail: Piece | None = None) -> None:
        """End the body, perhaps with a line that only the end completes."""
        if tail is not None:
            self._tail = (Event(self._size, self._size + len(tail.data), tail),)
            self._body(tail.data, Read())
        if self.reply.framing is Framing.CHUNKED:
            self._wire += chunk(b"")
        self._end()

    def garble(self) -> None:
        """Append bytes that are not HTTP; their first byte shows it."""
        self._facts.append((len(self._wire) + 1, Read(malformed=True)))
        self._wire += b"zz\r\n"
        self.over = True

    def read(self, size: int) -> Read:
        """Return the meaning of the next ``size`` bytes, which the router reads now."""
        start, self._at = self._at, self._at + size
        body = [self._wire[max(start, first) : min(self._at, last)] for first, last in self._spans]
        facts = [fact for at, fact in self._facts if at <= self._at]
        del self._facts[: len(facts)]
        return Read(
            next((fact.reply for fact in facts if fact.reply is not None), None),
            b"".join(body),
            tuple(event for fact in facts for event in fact.events),
            tuple(event for fact in facts for event in fact.tail),
            any(fact.ended for fact in facts),
            any(fact.malformed for fact in facts),
        )

    def _body(self, data: bytes, fact: Read) -> None:
        framed = chunk(data) if self.reply.framing is Framing.CHUNKED else data
        start = len(self._wire) + framed.index(data)
        self._spans.append((start, start + len(data)))
        self._wire += framed[: framed.index(data) + len(data)]
        self._facts.append((len(self._wire), fact))
        self._wire += framed[framed.index(data) + len(data) :]

    def _add(self, data: bytes, fact: Read) -> None:
        self._wire += data
        self._facts.append((len(self._wire), fact))

    def _end(self) -> None:
        self.over = True
        if self.reply.framing is not Framing.CLOSE:
            self._add(b"", Read(tail=self._tail, ended=True))
