"""An array of models and a list with commas are equivalent."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.request.body import ParsedBody, parse_body
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.plan import Rules, plan
from autopilot.routing.ranking import Load, score
from autopilot.routing.requirements import NOTHING
from autopilot.routing.router_error import RouterError
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.selector import parse_selector
from autopilot.routing.snapshot import Snapshot

RULES = Rules(frozenset({"auto"}), 6)
CATALOG = Catalog.of([Model("acme/A-TEE", "id-a", tee=True), Model("acme/B"), Model("acme/C")])
SNAPSHOT = Snapshot(
    CATALOG, tuple(score(Load(name, None, 1)) for name in ("acme/C", "acme/A-TEE", "acme/B"))
)
names = st.sampled_from(
    ["acme/A-TEE", "acme/a", "id-a", "acme/B:THINKING", " ACME/b", "acme/C", "nope", "", "auto"]
)
items = st.lists(names, min_size=1, max_size=7)
suffixes = st.sampled_from(["", ":latency", ":THROUGHPUT"])
members = st.lists(
    st.sampled_from([b'"n":1.0', b'"x":{"models":["y"]}', b'"stream":true', b'"t":"\\u00e9, "']),
    max_size=4,
    unique=True,
)
places = st.integers(0, 4)


def _body(others: list[bytes], *placed: tuple[int, bytes]) -> bytes:
    """Return the body of these members, each of ``placed`` put at its place in turn."""
    written = list(others)
    for place, member in placed:
        written.insert(place, member)
    return b"{" + b", ".join(written) + b"}"


def _asked(body: bytes) -> tuple[object, bytes | None]:
    """Return the plan of a body, and what goes up for one model of it."""
    parsed = parse_body(body)
    if isinstance(parsed, RouterError):
        return parsed, None
    assert isinstance(parsed, ParsedBody)
    selector = parse_selector(parsed.model, RULES.aliases, RULES.max_list_items)
    sent = parsed.template.naming("acme/B")
    if isinstance(selector, RouterError):
        return selector, sent
    planned = plan(selector, NOTHING, False, SNAPSHOT, RULES, RoutingState())
    return (planned, selector.order), sent


def _text(value: object) -> bytes:
    return json.dumps(value).encode()


class ModelsProperties(SynchronousTestCase):
    """Arbitrary names and other members."""

    @settings(max_examples=300)
    @given(items, suffixes, members, places)
    def test_alone(self, listed: list[str], suffix: str, others: list[bytes], place: int) -> None:
        """``models`` alone is equivalent to the list with commas in its place."""
        array = [*listed[:-1], listed[-1] + suffix]
        text = ",".join(["", *array])  # a list has a comma, even with one name
        self.assertEqual(
            _asked(_body(others, (place, b'"models" : ' + _text(array)))),
            _asked(_body(others, (place, b'"model":' + _text(text)))),
        )

    @settings(max_examples=300)
    @given(items, items, suffixes, members, places, st.integers(0, 5))
    def test_beside_model(
        self,
        first: list[str],
        more: list[str],
        suffix: str,
        others: list[bytes],
        place: int,
        models_place: int,
    ) -> None:
        """``models`` beside ``model`` is the list of both, and is not forwarded."""
        model = (place, b'"model":' + _text(",".join(first) + suffix))
        both = (place, b'"model":' + _text(",".join(["", *first, *more]) + suffix))
        self.assertEqual(
            _asked(_body(others, model, (models_place, b'"models":' + _text(more)))),
            _asked(_body(others, both)),
        )

    @given(st.sampled_from(["auto", "acme/B", "acme/C,acme/a:latency"]), members, places, places)
    def test_absent(self, model: str, others: list[bytes], place: int, models_place: int) -> None:
        """null and an empty list do not change the request."""
        named = (place, b'"model":' + _text(model))
        for empty in (b'"models":null', b'"models":[ ]'):
            self.assertEqual(
                _asked(_body(others, named, (models_place, empty))), _asked(_body(others, named))
            )
