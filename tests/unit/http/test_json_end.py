"""The end of a JSON document."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.json_end import JsonEnd
from tests.unit.relay.chunks import cut, halves
from tests.unit.relay.profiled import calls

_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.text('"\\[]{}x\n', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('"\\{]', max_size=3), inner)
    ),
    max_leaves=4,
)


def _reached(*parts: bytes) -> bool:
    end = JsonEnd()
    for part in parts:
        end.feed(part)
    return end.reached


class EndTests(SynchronousTestCase):
    """Documents, whole and cut."""

    @settings(max_examples=25)
    @given(st.lists(_VALUES, max_size=3) | st.dictionaries(st.text(max_size=3), _VALUES))
    def test_documents(self, value: Any) -> None:
        """An object or array is complete with its last bracket and not before, however cut."""
        for indent in (None, 2):
            text = json.dumps(value, indent=indent).encode()
            for parts in halves(text):
                self.assertTrue(_reached(*parts, b" \n"))
            for size in range(1, len(text)):
                self.assertFalse(_reached(text[:size]), text[:size])
                self.assertFalse(_reached(*cut(text[:size], range(size))), text[:size])

    def test_without_brackets(self) -> None:
        """Nothing is missing from nothing, or from a number; from a string its end may be."""
        for text, reached in ((b"", True), (b" \n", True), (b"12", True), (b'"a', False)):
            self.assertIs(_reached(text), reached, text)

    def test_long_strings(self) -> None:
        """A long string costs neither the stack nor much time."""
        self.assertFalse(_reached(b'{"a":"' + b'\\"x' * 1_000_000))

    def test_calls(self) -> None:
        """A part costs a few searches, whatever it holds."""
        for part in (b"[]", b"{", b'""', b'\\"', b"\\", b'"'):
            self.assertLess(calls(JsonEnd().feed, part * 30_000), 60, part)
