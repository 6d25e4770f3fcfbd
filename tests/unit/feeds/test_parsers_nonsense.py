"""Tests of malformed feeds: each yields a `FetchError`, or costs one record."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.feeds.parsers import parse_catalog, parse_utilization
from autopilot.http.fetch_error import JSON, OUTCOMES, SHAPE, FetchError
from autopilot.routing.catalog import Catalog
from autopilot.routing.ranking import rank
from tests.unit.feeds.records import catalog_body, entry, record, utilization_body

Parse = Callable[[bytes], object]

_DEEP = b"[" * 100_000 + b"]" * 100_000

# What is not JSON, whichever envelope it stands in.
_NOT_JSON: tuple[tuple[str, bytes], ...] = (
    ("truncated", b'{"id":"a"'),
    ("html", b"<html><center>nginx</center></html>"),
    ("bad utf-8", b'{"id":"a\xff","name":"a\xff"}'),
    ("bad utf-8 in an unused field", b'{"id":"a","x":"\xff"}'),
    ("NaN", b'{"id":"a","utilization_5m":NaN}'),
    ("Infinity", b"Infinity"),
    ("deep", _DEEP),
    ("deep within", b'{"id":' + _DEEP + b"}"),
    ("lone surrogate", b'"\\ud800"'),
    ("trailing comma", b'{"id":"a",}'),
)

# What is neither feed as a whole, and the outcome it is counted as.
_NO_FEED: tuple[tuple[str, bytes, str], ...] = (
    ("empty", b"", JSON),
    ("blank", b"  \n", JSON),
    ("html", b"<html><center>nginx</center></html>", JSON),
    ("byte order mark", b'\xef\xbb\xbf{"data":[]}', JSON),
    ("utf-16", '{"data":[]}'.encode("utf-16"), JSON),
    ("NaN", b"NaN", JSON),
    ("null", b"null", SHAPE),
    ("number", b"17", SHAPE),
    ("string", b'"data"', SHAPE),
    ("object without data", b'{"detail":"down for maintenance"}', SHAPE),
    ("data of another type", b'{"data":{"id":"a"}}', SHAPE),
    ("null data", b'{"data":null}', SHAPE),
)

_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "data", "name", "active_instance_count", "scalable", "x"]),
            children,
            max_size=4,
        )
    ),
    max_leaves=12,
)


class NonsenseTests(SynchronousTestCase):
    """Any body parses or raises `FetchError`."""

    def test_no_feed(self) -> None:
        """Other bodies are rejected with the right outcome, and the error does not quote them."""
        parsers: tuple[Parse, ...] = (parse_catalog, parse_utilization)
        for parse in parsers:
            for name, body, outcome in _NO_FEED:
                error = self.assertRaises(FetchError, parse, body)
                self.assertEqual(error.outcome, outcome, name)
                self.assertIn(str(error), ("not UTF-8", "not JSON", "not a list of records"), name)

    def test_not_json(self) -> None:
        """One malformed piece rejects the whole feed, wherever it is."""
        for name, piece in _NOT_JSON:
            good = b'{"id":"good","name":"good","active_instance_count":1},'
            for parse, body in (
                (parse_catalog, b'{"data":[' + good + piece + b"]}"),
                (parse_utilization, b"[" + good + piece + b"]"),
            ):
                error = self.assertRaises(FetchError, parse, body)
                self.assertEqual(error.outcome, JSON, name)
                self.assertIn(str(error), ("not UTF-8", "not JSON"), name)

    def test_cut_or_continued(self) -> None:
        """Truncated bodies and bodies with trailing data are rejected."""
        for parse, body in (
            (parse_catalog, catalog_body(entry())),
            (parse_utilization, utilization_body(record())),
        ):
            for length in range(len(body)):
                self.assertRaises(FetchError, parse, body[:length])
            self.assertRaises(FetchError, parse, body + b" []")

    def test_each_others_envelope(self) -> None:
        """Neither feed passes for the other."""
        error = self.assertRaises(FetchError, parse_catalog, utilization_body(record()))
        self.assertEqual(error.outcome, SHAPE)
        error = self.assertRaises(FetchError, parse_utilization, catalog_body(entry()))
        self.assertEqual(error.outcome, SHAPE)

    @given(st.binary(max_size=60))
    def test_arbitrary_bytes(self, body: bytes) -> None:
        """No sequence of bytes raises anything but FetchError."""
        self._read_both(body)

    @given(_json_values)
    def test_arbitrary_json(self, value: object) -> None:
        """No JSON value raises anything but FetchError, bare or where the records go."""
        self._read_both(json.dumps(value).encode())
        self._read_both(json.dumps([value, value]).encode())
        self._read_both(json.dumps({"data": [value]}).encode())

    @given(st.dictionaries(st.sampled_from(sorted(record())), _json_values, max_size=5))
    def test_arbitrary_record_fields(self, changes: dict[str, object]) -> None:
        """A good record next to one with any fields is always kept, and ranks finitely."""
        body = utilization_body(record("acme/Good-TEE"), record("acme/Odd-TEE", **changes))
        try:
            parsed = parse_utilization(body)
        except FetchError as error:
            self.assertEqual(error.outcome, JSON)  # NaN and Infinity are not JSON
            return
        self.assertEqual(parsed.loads[0].name, "acme/Good-TEE")
        for ranked in rank(parsed.loads, None):
            self.assertTrue(math.isfinite(ranked.score))

    @given(st.dictionaries(st.sampled_from(sorted(entry())), _json_values, max_size=5))
    def test_arbitrary_entry_fields(self, changes: dict[str, object]) -> None:
        """No optional field of an entry can cost it its place in the catalog."""
        changes.pop("id", None)
        try:
            parsed = parse_catalog(catalog_body(entry("acme/Odd", **changes)))
        except FetchError as error:
            self.assertEqual(error.outcome, JSON)
            return
        self.assertEqual([model.name for model in parsed.models], ["acme/Odd"])
        self.assertEqual(len(Catalog.of(parsed.models)), 1)

    def _read_both(self, body: bytes) -> None:
        for parse in (parse_catalog, parse_utilization):
            try:
                parse(body)
            except FetchError as error:
                self.assertIn(error.outcome, OUTCOMES)
