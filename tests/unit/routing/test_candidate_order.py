"""Tests of the order of candidates: requested order, remembered model, cooling models."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.plan import Plan, Rules, displaced, plan
from autopilot.routing.ranking import Load, score
from autopilot.routing.requirements import NOTHING
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.selector import Selector, parse_selector
from autopilot.routing.snapshot import Snapshot
from autopilot.routing.why import AffinityWhy

RULES = Rules(frozenset({"auto"}), 8)
SNAPSHOT = Snapshot(None, tuple(score(Load(name, None, 1)) for name in "abcd"))
SPEEDS = RoutingState(first_byte={"d": 0.5, "b": 0.1, "z": 0.0}, throughput={"a": 10.0, "c": 90.0})


def _planned(text: str, recall: RoutingState) -> Plan:
    selector = parse_selector(text, RULES.aliases, 8)
    assert isinstance(selector, Selector)
    planned = plan(selector, NOTHING, False, SNAPSHOT, RULES, recall)
    assert isinstance(planned, Plan)
    return planned


def _order(text: str, recall: RoutingState) -> str:
    return "".join(_planned(text, recall).models)


class MeasuredTests(SynchronousTestCase):
    """The suffixes ``:latency`` and ``:throughput``."""

    def test_latency(self) -> None:
        """The shortest time to the first byte comes first; unmeasured models go last."""
        self.assertEqual(_order("auto:latency", SPEEDS), "bdac")
        self.assertEqual(_order("a,c,d,b:latency", SPEEDS), "bdac")

    def test_throughput(self) -> None:
        """The highest throughput comes first; unmeasured models go last."""
        self.assertEqual(_order("auto:throughput", SPEEDS), "cabd")
        self.assertEqual(_order("d,a,b,c:throughput", SPEEDS), "cadb")

    def test_without_a_suffix_speed_does_not_matter(self) -> None:
        """Without a suffix the given order stands."""
        self.assertEqual(_order("auto", SPEEDS), "abcd")
        self.assertEqual(_order("d,c", SPEEDS), "dc")

    def test_equal_speed_keeps_the_order(self) -> None:
        """Ties keep their order, and zero counts as a measurement."""
        recall = RoutingState(first_byte={"c": 0.0, "b": 0.0}, throughput={"d": 0.0})
        self.assertEqual(_order("auto:latency", recall), "bcad")
        self.assertEqual(_order("auto:throughput", recall), "dabc")

    def test_a_direct_name_is_not_reordered(self) -> None:
        """A direct name stays the only candidate, whatever is remembered."""
        recall = RoutingState(remembered="b", cooling=frozenset({"a"}), first_byte={"b": 0.1})
        self.assertEqual(_order("a:latency", recall), "a:latency")


class AliasStickinessTests(SynchronousTestCase):
    """The remembered model behind the alias."""

    def test_it_moves_to_the_front(self) -> None:
        """The others keep their order."""
        self.assertEqual(_order("auto", RoutingState(remembered="c")), "cabd")
        self.assertEqual(_order("auto", RoutingState(remembered="b")), "bacd")
        self.assertEqual(_order("auto", RoutingState(remembered="a")), "abcd")

    def test_not_when_it_is_no_candidate(self) -> None:
        """A remembered model that is no longer a candidate has no effect."""
        self.assertEqual(_order("auto", RoutingState(remembered="z")), "abcd")

    def test_not_while_it_is_cooling(self) -> None:
        """A remembered model that is cooling goes behind all others."""
        recall = RoutingState(remembered="b", cooling=frozenset({"b"}))
        self.assertEqual(_order("auto", recall), "acdb")

    def test_not_even_when_all_are_cooling(self) -> None:
        """If all models are cooling, the ranking's order stands."""
        self.assertEqual(
            _order("auto", RoutingState(remembered="b", cooling=frozenset("abcd"))), "abcd"
        )

    def test_before_the_measured_order(self) -> None:
        """A remembered model stays first under a suffix too."""
        self.assertEqual(
            _order("auto:latency", RoutingState(remembered="a", first_byte={"c": 1})), "acbd"
        )

    def test_recent_failures_do_not_matter(self) -> None:
        """For the alias, recent failures have no effect on the order."""
        recall = RoutingState(remembered="c", failed_recently=frozenset("c"))
        self.assertEqual(_order("auto", recall), "cabd")
        self.assertEqual(_order("auto", RoutingState(failed_recently=frozenset("a"))), "abcd")


class ListStickinessTests(SynchronousTestCase):
    """The remembered model in a list, where the client's order takes precedence."""

    def test_the_order_stands(self) -> None:
        """A remembered fallback stays where the client put it."""
        self.assertEqual(_order("a,b,c", RoutingState(remembered="b")), "abc")

    def test_while_an_earlier_model_fails(self) -> None:
        """It moves to the front only while a model before it has just failed for this client."""
        for failed in ("a", "b", "ab", "ac"):
            recall = RoutingState(remembered="c", failed_recently=frozenset(failed))
            self.assertEqual(_order("a,b,c,d", recall), "cabd", failed)

    def test_failures_behind_it_do_not_matter(self) -> None:
        """Its own failure, or that of a later model, does not change the order."""
        for failed in ("c", "b", "z"):
            recall = RoutingState(remembered="b", failed_recently=frozenset(failed))
            self.assertEqual(_order("a,b,c", recall), "abc", failed)

    def test_not_while_it_is_cooling(self) -> None:
        """A cooling fallback goes last, whatever else failed."""
        recall = RoutingState(
            remembered="b", failed_recently=frozenset("a"), cooling=frozenset({"b"})
        )
        self.assertEqual(_order("a,b,c", recall), "acb")

    def test_not_when_it_is_not_listed(self) -> None:
        """A remembered model that is not listed does not become a candidate."""
        recall = RoutingState(remembered="z", failed_recently=frozenset("a"))
        self.assertEqual(_order("a,b", recall), "ab")

    def test_the_item_behind_a_broken_one(self) -> None:
        """If nothing is remembered, the item behind the one that broke comes first."""
        for broken, expected in (("a", "bac"), ("b", "cab"), ("c", "abc"), ("z", "abc")):
            self.assertEqual(_order("a,b,c", RoutingState(broken=broken)), expected)
        self.assertEqual(_order("auto", RoutingState(broken="a")), "abcd")
        recall = RoutingState("c", frozenset("a"), broken="a")
        self.assertEqual(_order("a,b,c", recall), "cab")
        recall = RoutingState("a", broken="a")
        self.assertEqual(_order("a,b,c", recall), "abc")

    def test_the_item_behind_a_broken_one_is_cooling(self) -> None:
        """Then the next one that is not cooling comes first."""
        recall = RoutingState(cooling=frozenset("b"), broken="a")
        self.assertEqual(_order("a,b,c,d", recall), "cadb")
        recall = RoutingState(cooling=frozenset("bc"), broken="a")
        self.assertEqual(_order("a,b,c", recall), "abc")

    def test_the_item_behind_a_broken_one_is_for_those_who_remember_none(self) -> None:
        """A model that answered since replaces the broken one, even while it is cooling."""
        recall = RoutingState("b", cooling=frozenset("b"), broken="a")
        self.assertEqual(_order("a,b,c", recall), "acb")

    def test_the_item_behind_under_a_suffix(self) -> None:
        """What is behind is what the suffix puts behind."""
        recall = RoutingState(first_byte={"c": 0.1, "a": 0.2}, broken="c")
        self.assertEqual(_order("a,b,c:latency", recall), "acb")

    def test_under_a_suffix(self) -> None:
        """With a suffix, "before it" refers to the measured order."""
        recall = RoutingState("a", frozenset("b"), first_byte={"b": 0.1, "a": 0.2})
        self.assertEqual(_order("a,b,c:latency", recall), "abc")
        self.assertEqual(_order("a,b,c:throughput", recall), "abc")
        other = RoutingState("b", frozenset("a"), first_byte={"b": 0.1, "a": 0.2})
        self.assertEqual(_order("a,b,c:latency", other), "bac")


class StickyTests(SynchronousTestCase):
    """Whether the first candidate is first because this conversation remembers it."""

    def sticky(
        self, text: str, *remembered: str | None, failed: str = "", cooling: str = ""
    ) -> list[bool]:
        """Return it for each remembered model."""
        states = (RoutingState(each, frozenset(failed), frozenset(cooling)) for each in remembered)
        return [_planned(text, state).sticky for state in states]

    def test_alias(self) -> None:
        """A remembered candidate is first for that, even where its rank would do."""
        self.assertEqual(self.sticky("auto", "a", "b", "d"), [True, True, True])
        self.assertEqual(self.sticky("auto", None, "z"), [False, False])

    def test_alias_cooling(self) -> None:
        """A remembered model that is cooling is not first; others that cool change nothing."""
        found = self.sticky("auto", "a", "b", "c", cooling="ab")
        self.assertEqual(found, [False, False, True])

    def test_list(self) -> None:
        """The head of a list is first because the client wrote it there."""
        self.assertEqual(self.sticky("a,b,c", None, "a", "b", "z"), [False] * 4)

    def test_list_after_a_failure(self) -> None:
        """Only a model that moves in front of one that failed is first because it is remembered."""
        found = self.sticky("a,b,c", None, "a", "b", "c", failed="b")
        self.assertEqual(found, [False, False, False, True])

    def test_direct(self) -> None:
        """Nothing sticks to a direct name."""
        self.assertEqual(self.sticky("a", "a", "b"), [False, False])


class CoolingTests(SynchronousTestCase):
    """Models that are cooling down for every client."""

    def test_they_go_last_in_their_order(self) -> None:
        """Behind all others, and never left out."""
        self.assertEqual(_order("auto", RoutingState(cooling=frozenset("ac"))), "bdac")
        self.assertEqual(_order("c,b,a", RoutingState(cooling=frozenset("cz"))), "bac")

    def test_all_of_them(self) -> None:
        """If all are cooling, all remain, in their order."""
        self.assertEqual(_order("auto", RoutingState(cooling=frozenset("abcd"))), "abcd")

    def test_they_go_last_under_a_suffix_too(self) -> None:
        """A cooling model goes last even if it is the fastest."""
        recall = RoutingState(cooling=frozenset("b"), first_byte=SPEEDS.first_byte)
        self.assertEqual(_order("auto:latency", recall), "dacb")


class DisplacedTests(SynchronousTestCase):
    """Why the remembered model is not the first."""

    def displaced(self, text: str, recall: RoutingState) -> AffinityWhy | None:
        """Return the reason in the plan of a selector."""
        return displaced(_planned(text, recall), recall)

    def test_first(self) -> None:
        """The first one has nothing before it, wherever it would be otherwise."""
        self.assertIsNone(self.displaced("auto", RoutingState("a")))
        self.assertIsNone(self.displaced("auto", RoutingState("c")))
        self.assertIsNone(self.displaced("a,b", RoutingState("a")))
        self.assertIsNone(self.displaced("a,b", RoutingState("b", frozenset("a"))))
        self.assertIsNone(self.displaced("a,", RoutingState("a", cooling=frozenset("a"))))

    def test_cooling(self) -> None:
        """One that cools down is behind the others, in a list too."""
        for text in ("auto", "a,b", "b,a"):
            recall = RoutingState("a", cooling=frozenset("a"))
            self.assertIs(self.displaced(text, recall), AffinityWhy.COOLING)

    def test_listed(self) -> None:
        """In a list the order rules."""
        recall = RoutingState("b", cooling=frozenset("c"))
        self.assertIs(self.displaced("a,b,c", recall), AffinityWhy.LISTED)

    def test_gone(self) -> None:
        """One that is no candidate is gone, whether it cools down or not."""
        for cooling in ("", "z"):
            recall = RoutingState("z", cooling=frozenset(cooling))
            self.assertIs(self.displaced("auto", recall), AffinityWhy.GONE)

    def test_nothing_remembered(self) -> None:
        """Without one it is why there is none."""
        for why in (None, *AffinityWhy):
            self.assertIs(self.displaced("auto", RoutingState(forgotten=why)), why)
