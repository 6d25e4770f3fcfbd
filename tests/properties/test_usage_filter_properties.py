"""Of any stream, cut anywhere, the client gets all events but the chunk of usage."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.unit.relay.chunks import cut, places
from tests.unit.relay.test_usage_filter import USAGE, passed
from tests.unit.relay.upstreams import DONE, ROLE, STOP, TOKEN

_TOTALS = TOKEN.replace(b"]}", b'],"usage":{"completion_tokens":1}}')
_NULL = TOKEN.replace(b"]}", b'],"usage":null}')
_EVENTS = [
    *(ROLE, TOKEN, _NULL, STOP, DONE, USAGE, USAGE, _TOTALS, b": ping\n\n", b"\n"),
    b'event: x\ndata: {"choices":[],"usage":{}}\n\n',
    b'data: {"choices":[],"usage":null}\n\n',
    b'data: {"usage":{"a":1}}\n\n',
]


def expected(events: list[bytes]) -> bytes:
    """Return the rest of a stream by the plainest rule, event by event."""
    left, reads = [], True
    for event in events:
        reads = reads and event != _TOTALS
        if not (reads and event == USAGE):
            left.append(event)
    return b"".join(left)


class UsageFilterProperties(SynchronousTestCase):
    """The filter against the rule."""

    @settings(max_examples=300)
    @given(
        st.lists(st.sampled_from(_EVENTS), min_size=1, max_size=8),
        st.sampled_from([b"\n", b"\r\n", b"\r"]),
        places(900),
    )
    def test_any_pieces(self, events: list[bytes], line_end: bytes, where: list[int]) -> None:
        """The pieces make no difference."""
        stream = b"".join(events).replace(b"\n", line_end)
        left = expected(events).replace(b"\n", line_end)
        self.assertEqual(passed(cut(stream, where)).body, left)
