"""Error bodies keep their bytes, and gain at most the ``error`` member."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.relay.error_shape import with_error

_BLANKS = st.text(" \t\r\n", max_size=3)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["message", "msg", "detail", "a"]), inner, max_size=3)
    ),
    max_leaves=8,
)
_KEYS = st.sampled_from(["detail", "detail", "error", "message", "code", ""]) | st.text(max_size=4)


@st.composite
def _objects(draw: st.DrawFn) -> bytes:
    """Return a JSON object with blanks between its members and repeated keys."""

    def spelled(value: object) -> str:
        return json.dumps(value, ensure_ascii=draw(st.booleans()))

    members = [
        f"{draw(_BLANKS)}{spelled(key)}{draw(_BLANKS)}:{draw(_BLANKS)}{spelled(value)}"
        for key, value in draw(st.lists(st.tuples(_KEYS, _VALUES), max_size=5))
    ]
    text = f"{draw(_BLANKS)}{{" + f"{draw(_BLANKS)},".join(members) + f"{draw(_BLANKS)}}}"
    return (text + draw(_BLANKS)).encode()


def _damaged(body: bytes) -> st.SearchStrategy[bytes]:
    """Return the body with a few bytes replaced, added or removed."""
    return st.builds(
        lambda place, length, put: body[:place] + put + body[place + length :],
        st.integers(0, len(body)),
        st.integers(0, 3),
        st.binary(max_size=2) | st.sampled_from([b",", b"}", b'"', b"NaN", b'"error":1,']),
    )


def _pairs(body: bytes) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = json.loads(body, object_pairs_hook=list)
    return pairs


class ErrorShapeProperties(SynchronousTestCase):
    """Bodies of every kind."""

    def assert_inserted(self, body: bytes, shaped: bytes) -> None:
        """Assert that the bytes are the upstream's except for one insertion."""
        size = len(shaped) - len(body)
        start = shaped.rindex(b',"error":{"type":')
        self.assertEqual(shaped[:start] + shaped[start + size :], body)

    @given(_objects(), st.sampled_from([400, 401, 429, 500, 503]), st.sampled_from([*Dialect]))
    def test_objects(self, body: bytes, status: int, dialect: Dialect) -> None:
        """An object keeps its members, and gains one if its detail is a text."""
        shaped = with_error(body, status, dialect)
        before = _pairs(body)
        detail = dict(before).get("detail")
        if "error" in dict(before):
            self.assertEqual(shaped, body)
        elif isinstance(detail, str) and detail.strip():
            self.assertNotEqual(shaped, body)
        if shaped != body:
            self.assert_inserted(body, shaped)
            *kept, (name, error) = _pairs(shaped)
            self.assertEqual((kept, name), (before, "error"))
            self.assertEqual([key for key, _ in error], ["type", "message", "param", "code"])
            if isinstance(detail, str):
                self.assertEqual(dict(error)["message"], detail)

    @given(st.binary(max_size=60) | _objects().flatmap(_damaged))
    def test_damaged(self, body: bytes) -> None:
        """A damaged body is unchanged, or was valid JSON and still is."""
        shaped = with_error(body, 500, Dialect.COMPLETIONS)
        if shaped != body:
            self.assert_inserted(body, shaped)
            self.assertEqual(_pairs(shaped)[:-1], _pairs(body))
