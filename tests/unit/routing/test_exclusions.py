"""Tests of the reasons why models are no candidates, which follow the plan's rules."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.exclusions import dropped
from autopilot.routing.listing import Cause, Dropped
from autopilot.routing.plan import Plan, Rules, plan
from autopilot.routing.ranking import Load, rank
from autopilot.routing.requirements import NOTHING, Needs
from autopilot.routing.router_error import RouterError
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.selector import Selector, parse_selector
from autopilot.routing.snapshot import Snapshot

ALIASES = frozenset({"alias"})
RULES = Rules(ALIASES, 8)
CATALOG = Catalog.of(
    (
        Model("tee", "1", tee=True, features=frozenset({"tools"}), max_output_length=10),
        Model("open", "2", tee=False, features=frozenset(), max_output_length=5),
        Model("vague"),
    )
)
NAMES = ("tee", "open", "vague", "stranger", "1")


def _snapshot(catalog: Catalog | None = CATALOG) -> Snapshot:
    loads = [Load(name, None, 9 - at) for at, name in enumerate(("tee", "open", "vague"))]
    return Snapshot(catalog, rank(loads, catalog))


def _selector(text: str) -> Selector:
    selector = parse_selector(text, ALIASES, 8)
    assert isinstance(selector, Selector)
    return selector


def _dropped(
    text: str, needs: Needs = NOTHING, tee_only: bool = False, rules: Rules = RULES
) -> tuple[Dropped, ...]:
    return dropped(_selector(text), needs, tee_only, _snapshot(), rules)


class ExclusionTests(SynchronousTestCase):
    """One rule at a time."""

    def test_needs(self) -> None:
        """For the alias every need that a model lacks is named; lists and names ignore needs."""
        needs = Needs(tools=True, completion_tokens=7)
        lacking = Dropped("open", Cause.LACKS, ("tools", "completion_tokens"))
        self.assertEqual(_dropped("alias", needs), (lacking,))
        self.assertEqual(_dropped("open,tee", needs), ())
        self.assertEqual(_dropped("open", needs), ())
        # At the end of a list needs concern what the alias adds, not what was named.
        self.assertEqual(_dropped("tee,alias", needs), (lacking,))
        self.assertEqual(_dropped("open,alias", needs), ())

    def test_confidential(self) -> None:
        """Unmarked models are excluded in every mode, by request and by setting."""
        not_marked = tuple(Dropped(name, Cause.NOT_CONFIDENTIAL) for name in ("open", "vague"))
        self.assertEqual(_dropped("alias", tee_only=True), not_marked)
        self.assertEqual(_dropped("open,tee,vague", tee_only=True), not_marked)
        self.assertEqual(
            _dropped("open", rules=Rules(ALIASES, 8, require_tee=True)), not_marked[:1]
        )
        self.assertEqual(_dropped("1", tee_only=True), ())
        self.assertEqual(_dropped("vague,TEE,alias", tee_only=True), not_marked[::-1])

    def test_unknown(self) -> None:
        """Names that are not in the catalog are excluded unless they are forwarded."""
        stranger = (Dropped("stranger", Cause.UNKNOWN),)
        self.assertEqual(_dropped("stranger"), stranger)
        self.assertEqual(_dropped("tee,stranger"), stranger)
        self.assertEqual(_dropped("tee,stranger", tee_only=True), stranger)
        self.assertEqual(_dropped("stranger", rules=Rules(ALIASES, 8, "forward")), ())
        self.assertEqual(dropped(_selector("x"), NOTHING, False, _snapshot(None), RULES), ())

    def test_nothing_is_known(self) -> None:
        """A model that ranks without a catalog is not known to lack anything."""
        snapshot = Snapshot(None, rank([Load("x-TEE", None, 1)], None))
        needs = Needs(tools=True)
        self.assertEqual(dropped(_selector("alias"), needs, False, snapshot, RULES), ())
        self.assertEqual(
            dropped(_selector("alias"), needs, True, snapshot, RULES),
            (Dropped("x-TEE", Cause.NOT_CONFIDENTIAL),),
        )

    @given(
        st.one_of(
            st.just("alias"),
            st.lists(st.sampled_from(NAMES), min_size=1, max_size=5).map(",".join),
            st.lists(st.sampled_from(NAMES), max_size=4).map(
                lambda names: ",".join([*names, "alias,"])
            ),
        ),
        st.builds(
            Needs,
            tools=st.booleans(),
            completion_tokens=st.one_of(st.none(), st.integers(0, 20)),
        ),
        st.booleans(),
        st.builds(
            Rules,
            st.just(ALIASES),
            st.just(8),
            st.sampled_from(("reject", "forward")),
            st.booleans(),
        ),
        st.sampled_from((CATALOG, None, Catalog.of(()))),
    )
    def test_what_the_plan_leaves_out(
        self, text: str, needs: Needs, tee_only: bool, rules: Rules, catalog: Catalog | None
    ) -> None:
        """Candidates and excluded models together are all models that the selector could mean."""
        selector, snapshot = _selector(text), _snapshot(catalog)
        made = plan(selector, needs, tee_only, snapshot, rules, RoutingState())
        told = [each.name for each in dropped(selector, needs, tee_only, snapshot, rules)]
        chutes = {"1": "tee"} if catalog is CATALOG else {}
        meant: dict[str, str] = {}
        added = snapshot.eligible.names if "alias" in text else ()
        for name in (*selector.names, *added):
            meant.setdefault(chutes.get(name, name), name)
        if isinstance(made, Plan):
            self.assertEqual([name for name in meant.values() if name not in made.models], told)
        else:
            assert isinstance(made, RouterError)
            self.assertEqual(told == [], made.code == "no_candidates")
            if made.code != "unknown_model":
                self.assertEqual(list(meant.values()), told)
