"""Responses that are truncated at each point, by an end or a reset, as the client receives them."""

from __future__ import annotations

import socket
from itertools import accumulate

from tests.process.faults.cases import GOOD, PLAIN, FaultTestCase
from tests.process.faults.upstreams import BOTH, ONE, Script, ends, resets
from tests.unit.relay.upstreams import DONE, ROLE, STOP, TOKEN, chunk, head, whole

_ROLE_END, _TOKEN_END, _STOP_END, _DONE_END = accumulate(
    (len(head()) + len(chunk(ROLE)), len(chunk(TOKEN)), len(chunk(STOP)), len(chunk(DONE)))
)
_BEFORE = {
    "before any byte": 0,
    "inside the status line": 7,
    "inside the head": len(head()) - 10,
    "after the head": len(head()),
    "inside the first chunk's size": len(head()) + 1,
    "after the role": _ROLE_END,
    "inside the first token": _ROLE_END + len(chunk(TOKEN)) // 2,
}
_AFTER = {
    "after the first token": _TOKEN_END,
    "inside the next chunk's size": _TOKEN_END + 1,
    "inside the next event": _TOKEN_END + len(chunk(STOP)) // 2,
}
_BEHIND = {
    "after the finish": _STOP_END,
    "inside the terminator": _STOP_END + len(chunk(DONE)) // 2,
    "after the terminator": _DONE_END,
}
_PLAIN = whole(200, PLAIN)


def _cut(response: bytes, at: int, how: Script) -> Script:
    def script(connection: socket.socket) -> None:
        connection.sendall(response[:at])
        how(connection)

    return script


class CutResponseTests(FaultTestCase):
    """Two models, the first of which truncates its response."""

    shares = True

    def setUp(self) -> None:
        """Start router and upstream."""
        self.start()

    def test_before_the_commit_point(self) -> None:
        """If the response is truncated before the commit point, the next model responds."""
        for how in (ends, resets):
            for place, at in _BEFORE.items():
                self.does(_cut(GOOD, at, how))
                with self.subTest(place=place, how=how.__name__):
                    self.assert_falls_over()
        self.assert_well()

    def test_no_other_candidate(self) -> None:
        """Without another candidate, the client receives an upstream error."""
        for how in (ends, resets):
            for place, at in list(_BEFORE.items())[:4]:
                self.does(_cut(GOOD, at, how))
                with self.subTest(place=place, how=how.__name__):
                    answer = self.ask(ONE)
                    begun = place == "after the head"
                    code = "upstream_stream_interrupted" if begun else "upstream_connect_error"
                    self.assertEqual(answer.error, (502, "server_error", code))
        self.assert_well()

    def test_after_the_commit_point(self) -> None:
        """A stream that is truncated after its first token ends with an error event, uncleanly.

        Inside an event it only ends uncleanly.
        """
        for how in (ends, resets):
            for place, at in _AFTER.items():
                self.upstream.asked.clear()
                self.does(_cut(GOOD, at, how))
                with self.subTest(place=place, how=how.__name__):
                    answer = self.ask(BOTH)
                    self.assertEqual((answer.status, answer.whole), (200, False))
                    self.assertTrue(answer.body.startswith(ROLE + TOKEN))
                    announced = b"upstream_stream_interrupted" in answer.body
                    self.assertEqual(announced, place != "inside the next event")
                    self.assertNotIn(DONE, answer.body)
                    self.assertEqual(self.upstream.asked, [ONE])
        self.assert_well()

    def test_behind_the_answer(self) -> None:
        """Nothing is missing behind the finish reason or the terminator: the end is clean."""
        for how in (ends, resets):
            for place, at in _BEHIND.items():
                self.does(_cut(GOOD, at, how))
                with self.subTest(place=place, how=how.__name__):
                    answer = self.ask(BOTH)
                    whole_answer = ROLE + TOKEN + STOP + DONE
                    self.assertTrue(answer.body.startswith(ROLE + TOKEN + STOP))
                    self.assertTrue(whole_answer.startswith(answer.body))
                    self.assertTrue(answer.whole)
        self.assert_well()

    def test_plain_answers(self) -> None:
        """A unary response is held until it is whole, and replaced if it is truncated."""
        body = _PLAIN.index(PLAIN)
        for how in (ends, resets):
            for place, at in (
                ("inside the head", body - 5),
                ("before it", body),
                ("inside it", body + 9),
                ("before its last byte", len(_PLAIN) - 1),
            ):
                self.does(_cut(_PLAIN, at, how))
                with self.subTest(place=place, how=how.__name__):
                    self.assert_falls_over(stream=False)
        self.assert_well()
