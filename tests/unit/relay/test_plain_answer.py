"""What a plain answer means."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.relay.meaning import Meaning
from autopilot.relay.plain_answer import plain_meaning, usage_of_usual

_reasons: st.SearchStrategy[object] = st.sampled_from(
    ["stop", "abort", "error", "failed", "cancelled", "x", None, 1, [], {}]
)
_members = st.sampled_from(
    ["object", "type", "error", "detail", "status", "stop_reason", "choices"]
)
_values = _reasons | st.lists(_reasons | st.dictionaries(st.just("finish_reason"), _reasons))


class PlainTests(SynchronousTestCase):
    """Whole plain answers."""

    def test_meaning(self) -> None:
        """Errors, give-ups and nothing are no answers; what is no object of ours is one."""
        for value, expected in (
            ({"choices": [{"finish_reason": "stop"}]}, Meaning.CONTENT),
            ({"choices": [{"message": {"content": "an error"}}]}, Meaning.CONTENT),
            ({"choices": [{"finish_reason": "stop"}], "error": "aside"}, Meaning.CONTENT),
            ({"output": [], "status": "failed"}, Meaning.GAVE_UP),
            ({"output": [1], "status": "cancelled", "error": None}, Meaning.GAVE_UP),
            ({"content": [], "stop_reason": "abort"}, Meaning.GAVE_UP),
            ({"choices": [{"finish_reason": "network_error"}]}, Meaning.GAVE_UP),
            ({"detail": "no"}, Meaning.ERROR),
            ({"detail": [{"msg": "no"}], "choices": []}, Meaning.ERROR),
            ({"type": "error", "error": {"type": "api_error"}}, Meaning.ERROR),
            ({"error": {"code": 413}}, Meaning.OWN_ERROR),
            ([{"error": 1}], Meaning.CONTENT),
            ("failed", Meaning.CONTENT),
        ):
            self.assertIs(plain_meaning(json.dumps(value).encode()), expected, value)
            self.assert_agree(json.dumps(value).encode())
        self.assertIs(plain_meaning(b""), Meaning.EMPTY)
        self.assertIs(plain_meaning(b'{"error'), Meaning.CONTENT)

    def assert_agree(self, body: bytes) -> None:
        """At first sight nothing is an answer that is none by its meaning."""
        if usage_of_usual(body) is not None:
            self.assertIs(plain_meaning(body), Meaning.CONTENT, body)

    @given(st.dictionaries(_members, _values), st.dictionaries(_members, _values))
    def test_first_sight(self, one: dict[str, object], other: dict[str, object]) -> None:
        """Members of every kind, and members that stand twice."""
        self.assert_agree(json.dumps(one).encode())
        self.assert_agree(
            b"%b,%b" % (json.dumps(one).encode()[:-1], json.dumps(other).encode()[1:])
        )

    def test_usual(self) -> None:
        """Usual answers of each dialect are seen at first sight; a broken one is not."""
        for value, usage in (
            ({"object": "chat.completion", "choices": [{"finish_reason": "stop"}]}, b""),
            (
                {"choices": [{"text": "an error", "finish_reason": None}], "usage": {"detail": 1}},
                b'{"detail": 1}',
            ),
            ({"usage": {"usage": {}}, "choices": []}, b'{"usage": {}}'),
            ({"usage": None, "type": "message", "stop_reason": "end_turn"}, b"null"),
            ({"object": "response", "status": "completed", "error": None, "output": [1]}, b""),
        ):
            body = json.dumps(value).encode()
            found = usage_of_usual(body)
            assert found is not None
            self.assertEqual(bytes(found), usage)
            self.assertIsNone(usage_of_usual(body[:-1]), value)
