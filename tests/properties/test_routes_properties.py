"""An array of models, a list with commas and a route of the same names are equivalent."""

from __future__ import annotations

import json
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.headers import by_name
from autopilot.request.parse import ParseConfig, ParsedRequest, parse_request
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.commit import Commit
from autopilot.routing.plan import Plan, Rules
from autopilot.routing.ranking import Load, score
from autopilot.routing.router_error import RouterError
from autopilot.routing.routes import Route
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.selector import Mode
from autopilot.routing.snapshot import Snapshot

NAMES = ("acme/A-TEE", "acme/B", "acme/C", "zai-org/D-TEE")
CATALOG = Catalog.of(
    [
        Model("acme/A-TEE", "id-a", tee=True, input_modalities=frozenset({"text"})),
        Model("acme/B", "id-b", tee=False, features=frozenset()),
        Model("acme/C"),
        Model("zai-org/D-TEE", tee=True, context_length=5),
    ]
)
RANKING = tuple(score(Load(name, None, 1)) for name in reversed(NAMES))
spellings = st.sampled_from(
    [*NAMES, "acme/a", "id-a", "ACME/b", "acme/B:THINKING", "id-b:THINKING", "thudm/d"]
)
lists = st.lists(spellings, min_size=1, max_size=6)
states = st.builds(
    RoutingState,
    remembered=st.one_of(st.none(), st.sampled_from(NAMES)),
    failed_recently=st.frozensets(st.sampled_from(NAMES)),
    cooling=st.frozensets(st.sampled_from(NAMES)),
    first_byte=st.dictionaries(st.sampled_from(NAMES), st.floats(0, 9)),
    throughput=st.dictionaries(st.sampled_from(NAMES), st.floats(0, 9)),
    broken=st.one_of(st.none(), st.sampled_from(NAMES)),
)
snapshots = st.builds(lambda ranked: Snapshot(CATALOG, RANKING[:ranked]), st.integers(0, 4))
suffixes = st.sampled_from(["", ":latency", ":throughput"])
members = st.fixed_dictionaries(
    {},
    optional={
        "messages": st.just([{"role": "user", "content": [{"type": "image_url"}]}]),
        "tools": st.just([{"type": "function"}]),
        "n": st.just(1.0),
        "t": st.just("é, "),
    },
)


def _asked(
    naming: Mapping[str, object],
    others: dict[str, object],
    rules: Rules,
    tee: bool,
    state: RoutingState,
    snapshot: Snapshot,
) -> tuple[object, object]:
    """Return the plan of a request without its mode, and what goes up for each candidate."""
    # Without blanks: an array becomes a member ``model`` in the router's own spelling.
    body = json.dumps({"x": 1, **naming, **others}, separators=(",", ":")).encode()
    fields = by_name([(b"x-tee-only", b"true")] if tee else [])
    parsed = parse_request(fields, body, ParseConfig.of(rules, Commit.CONTENT, 1 << 20))
    assert isinstance(parsed, ParsedRequest), parsed
    planned = parsed.plan(snapshot, rules, state)
    if isinstance(planned, RouterError):
        return planned, None
    sent = [parsed.body.template.naming(each.sent or each.model) for each in planned.candidates]
    return (planned.candidates, planned.sticky, planned.added), sent


class RoutesProperties(SynchronousTestCase):
    """Arbitrary names of the catalog, in any of their spellings."""

    @settings(max_examples=300)
    @given(lists, st.booleans(), suffixes, members, st.booleans(), states, snapshots)
    def test_equivalent(
        self,
        names: list[str],
        alias_last: bool,
        suffix: str,
        others: dict[str, object],
        tee: bool,
        state: RoutingState,
        snapshot: Snapshot,
    ) -> None:
        """They give the same candidates and the same upstream bytes, whatever is remembered."""
        route = Route("mine", tuple(names), alias_last)
        rules = Rules(frozenset({"auto"}), 8, routes={"mine": route})
        items = [*names, "auto"] if alias_last else names
        text = ",".join(["", *items])  # a list has a comma, even with one name
        array = [*items[:-1], items[-1] + suffix]
        by_route, *others_alike = (
            _asked(naming, others, rules, tee, state, snapshot)
            for naming in (
                {"model": f"mine{suffix}"},
                {"model": f",mine{suffix}"},
                {"model": text + suffix},
                {"models": array},
            )
        )
        for alike in others_alike:
            self.assertEqual(alike, by_route)

    @given(lists, states, snapshots)
    def test_a_pattern(self, names: list[str], state: RoutingState, snapshot: Snapshot) -> None:
        """A pattern for all brings the rest of the catalog in its order, and nothing twice."""
        route = Route("mine", (*names, "*"))
        rules = Rules(frozenset(), 8, routes={"mine": route})
        parsed = parse_request(
            by_name([]), b'{"model":"mine"}', ParseConfig.of(rules, Commit.CONTENT, 99)
        )
        assert isinstance(parsed, ParsedRequest)
        self.assertEqual(parsed.selector.mode, Mode.ROUTE)
        planned = parsed.plan(snapshot, rules, state)
        assert isinstance(planned, Plan)
        self.assertEqual(len(set(planned.models)), len(planned.models))
        self.assertTrue(set(planned.models) >= {"acme/C"} - set(names))
        meant = {CATALOG.find(each.partition(":")[0]) for each in planned.models}
        self.assertEqual(meant, set(NAMES))
