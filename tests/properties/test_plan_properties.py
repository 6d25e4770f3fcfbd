"""Plans for any selector, feed and memory: never empty, and independent of irrelevant input."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.candidate import candidates_of
from autopilot.routing.catalog import EMPTY, Catalog, Model
from autopilot.routing.names import catalog_name, resolve
from autopilot.routing.plan import Plan, Rules, pick, plan
from autopilot.routing.ranking import Load, score
from autopilot.routing.requirements import Needs
from autopilot.routing.router_error import RouterError
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.selector import Mode, Order, Selector, parse_selector
from autopilot.routing.snapshot import Snapshot

NAMES = ("a", "b", "c", "d", "e-TEE")
name = st.sampled_from(NAMES)
some = st.frozensets(name)
features = st.one_of(st.none(), st.frozensets(st.sampled_from(["tools", "json_mode"])))
models = st.builds(
    Model,
    name=name,
    chute_id=st.one_of(st.none(), st.sampled_from(["id-1", "id-2"])),
    tee=st.sampled_from([None, True, False]),
    features=features,
)
snapshots = st.builds(
    Snapshot,
    catalog=st.one_of(st.none(), st.lists(models, max_size=6).map(Catalog.of)),
    ranking=st.lists(name, max_size=7).map(
        lambda ranked: tuple(score(Load(each, None, 1)) for each in ranked)
    ),
)
recalls = st.builds(
    RoutingState,
    remembered=st.one_of(st.none(), name),
    failed_recently=some,
    cooling=some,
    first_byte=st.dictionaries(name, st.floats(0, 10)),
    throughput=st.dictionaries(name, st.floats(0, 500)),
)
rules = st.builds(
    Rules,
    aliases=st.just(frozenset({"auto"})),
    max_list_items=st.just(8),
    unknown_models=st.sampled_from(["reject", "forward"]),
    require_tee=st.booleans(),
)
spelled = st.one_of(name, name.map(str.upper), st.sampled_from(["id-1", "e", "b:THINKING"]))
bodies = st.one_of(
    st.just("auto"),
    spelled,
    st.lists(spelled, min_size=1, max_size=6).map(",".join),
    st.lists(spelled, max_size=6).map(lambda each: ",".join([*each, "auto,"])),
)
selectors = st.tuples(bodies, st.sampled_from(["", ":latency", ":throughput"])).map("".join)
needs = st.builds(Needs, tools=st.booleans(), json_mode=st.booleans())
quick = settings(deadline=None, max_examples=300)


def _read(text: str) -> Selector:
    selector = parse_selector(text, frozenset({"auto"}), 8)
    assert isinstance(selector, Selector)
    return selector


class PlanProperties(SynchronousTestCase):
    """Properties of every plan."""

    @quick
    @given(selectors, needs, st.booleans(), snapshots, rules, recalls)
    def test_candidates(
        self,
        text: str,
        needs: Needs,
        tee_only: bool,
        snapshot: Snapshot,
        rules: Rules,
        recall: RoutingState,
    ) -> None:
        """Candidates are distinct and requested; cooling ones come last."""
        selector = _read(text)
        planned = plan(selector, needs, tee_only, snapshot, rules, recall)
        if isinstance(planned, RouterError):
            self.assertIn(planned.status, {400, 503})
            return
        self.assertEqual(planned.mode, selector.mode)
        self.assertTrue(planned.models)
        self.assertEqual(len(set(planned.models)), len(planned.models))
        ranked = {each.name for each in snapshot.ranking}
        catalog = snapshot.catalog or EMPTY
        if selector.mode is Mode.ALIAS:
            self.assertLessEqual(set(planned.models), ranked)
        else:
            asked = {resolve(each, catalog) or each for each in selector.names}
            meant = {each if isinstance(each, str) else each.sent for each in asked}
            self.assertLessEqual(
                set(planned.models), meant | (ranked if selector.alias_last else set())
            )
        cooling = [each in recall.cooling for each in planned.models]
        self.assertEqual(cooling, sorted(cooling))
        self.assertEqual(pick(planned.candidates, recall.cooling), planned.candidates[0])

    @quick
    @given(selectors, needs, st.booleans(), snapshots, rules, recalls)
    def test_memory_only_reorders(
        self,
        text: str,
        needs: Needs,
        tee_only: bool,
        snapshot: Snapshot,
        rules: Rules,
        recall: RoutingState,
    ) -> None:
        """Memory changes the order of candidates, not their set, and no refusal."""
        selector = _read(text)
        fresh = plan(selector, needs, tee_only, snapshot, rules, RoutingState())
        planned = plan(selector, needs, tee_only, snapshot, rules, recall)
        if isinstance(fresh, RouterError):
            self.assertEqual(planned, fresh)
            return
        assert isinstance(planned, Plan)
        self.assertEqual(sorted(planned.models), sorted(fresh.models))

    @quick
    @given(selectors, needs, snapshots, rules, recalls)
    def test_tee_leaves_only_marked_models(
        self, text: str, needs: Needs, snapshot: Snapshot, rules: Rules, recall: RoutingState
    ) -> None:
        """If TEE is required, every candidate is marked as such."""
        planned = plan(_read(text), needs, True, snapshot, rules, recall)
        if isinstance(planned, Plan):
            assert snapshot.catalog is not None
            for candidate in planned.models:
                listed = snapshot.catalog.models[catalog_name(candidate, snapshot.catalog)]
                self.assertIs(listed.tee, True)

    @quick
    @given(st.lists(name, min_size=1, max_size=6), needs, st.booleans(), snapshots, rules)
    def test_the_alias_behind_a_list(
        self, items: list[str], needs: Needs, tee_only: bool, snapshot: Snapshot, rules: Rules
    ) -> None:
        """The list's own plan comes first, then the alias's plan without the named models."""

        def planned(text: str) -> Plan | RouterError:
            return plan(_read(text), needs, tee_only, snapshot, rules, RoutingState())

        listed, best = planned(",".join(items) + ","), planned("auto")
        both = planned(",".join([*items, "auto"]))
        if isinstance(listed, RouterError) and listed.code == "unknown_model":
            self.assertEqual(both, listed)
            return
        first = listed.models if isinstance(listed, Plan) else ()
        rest = best.models if isinstance(best, Plan) else ()
        expected = (*first, *(each for each in rest if each not in first))
        if isinstance(both, RouterError):
            self.assertEqual((expected, both), ((), listed))
        else:
            self.assertEqual(both.models, expected)

    @quick
    @given(st.lists(spelled, min_size=1, max_size=6), snapshots, rules)
    def test_spelling_changes_nothing(
        self, items: list[str], snapshot: Snapshot, rules: Rules
    ) -> None:
        """A list made from its plan has the same plan."""
        written = plan(
            _read(",".join(items) + ","), Needs(), False, snapshot, rules, RoutingState()
        )
        if isinstance(written, Plan):
            text = ",".join(written.models) + ","
            again = plan(_read(text), Needs(), False, snapshot, rules, RoutingState())
            self.assertEqual(again, written)

    @quick
    @given(selectors.filter(lambda text: text.startswith("auto")), snapshots, recalls)
    def test_the_order_behind_the_alias(
        self, text: str, snapshot: Snapshot, recall: RoutingState
    ) -> None:
        """The order is: remembered, measured, rank; cooling models are last."""
        selector = _read(text)
        if selector.mode is not Mode.ALIAS:  # "auto," is a list, in which the own order stands
            return
        planned = plan(selector, Needs(), False, snapshot, Rules(frozenset({"auto"}), 8), recall)
        if isinstance(planned, RouterError):
            return
        measured: Mapping[str, float] = {}
        if selector.order is Order.LATENCY:
            measured = recall.first_byte
        elif selector.order is Order.THROUGHPUT:
            measured = {each: -rate for each, rate in recall.throughput.items()}
        ranked = list(dict.fromkeys(each.name for each in snapshot.ranking))
        expected = sorted(
            ranked,
            key=lambda each: (
                each in recall.cooling,
                each != recall.remembered or each in recall.cooling,
                each not in measured,
                measured.get(each, 0.0),
                ranked.index(each),
            ),
        )
        self.assertEqual(list(planned.models), expected)

    @quick
    @given(st.lists(name, min_size=1, max_size=6), snapshots, recalls)
    def test_a_list_is_the_callers_order(
        self, items: list[str], snapshot: Snapshot, recall: RoutingState
    ) -> None:
        """Without failures and cooldown, a list is tried as written."""
        calm = replace(recall, failed_recently=frozenset(), cooling=frozenset())
        forward = Rules(frozenset({"auto"}), 8, unknown_models="forward")
        selector = _read(",".join(items) + ",")
        planned = plan(selector, Needs(), False, snapshot, forward, calm)
        self.assertEqual(planned, Plan(Mode.LIST, candidates_of(tuple(dict.fromkeys(items)))))
