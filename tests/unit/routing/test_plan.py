"""Tests of the candidates of a request, and of the errors if there are none."""

from __future__ import annotations

from typing import Literal
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing import plan as plan_module
from autopilot.routing.candidate import candidates_of
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.patterns import patterns_of
from autopilot.routing.plan import Plan, Rules, pick, plan, settle
from autopilot.routing.ranking import Load, score
from autopilot.routing.requirements import NOTHING, Needs
from autopilot.routing.router_error import RouterError
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.selector import Mode, Selector, parse_selector
from autopilot.routing.snapshot import Snapshot
from autopilot.routing.why import Why

UnknownModels = Literal["reject", "forward", "alias"]

TEXT = frozenset({"text"})
A = Model("acme/A-TEE", "id-a", tee=True, input_modalities=TEXT, max_output_length=100)
B = Model("acme/B", "id-b", tee=False, features=frozenset({"tools"}))
C = Model("acme/C", "id-c")
CATALOG = Catalog.of([A, B, C])
RULES = Rules(frozenset({"auto"}), 8)
FORWARD = Rules(frozenset({"auto"}), 8, unknown_models="forward")
TEE = Rules(frozenset({"auto"}), 8, require_tee=True)


def _snapshot(*ranked: str, catalog: Catalog | None = CATALOG) -> Snapshot:
    return Snapshot(catalog, tuple(score(Load(name, None, 1)) for name in ranked))


ALL = _snapshot("acme/B", "acme/A-TEE", "acme/C")


def _plan(
    text: str,
    *,
    needs: Needs = NOTHING,
    tee_only: bool = False,
    snapshot: Snapshot = ALL,
    rules: Rules = RULES,
) -> Plan | RouterError:
    selector = parse_selector(text, rules.aliases, rules.max_list_items)
    assert isinstance(selector, Selector)
    return plan(selector, needs, tee_only, snapshot, rules, RoutingState())


def _then(named: tuple[str, ...], added: tuple[str, ...]) -> Plan:
    """Return the plan of a list with the models that the alias at its end adds."""
    return Plan(Mode.LIST, candidates_of(named + added), added=frozenset(added))


class PlanTestCase(SynchronousTestCase):
    """Base of the test cases in this file."""

    def check_refused(
        self, answer: Plan | RouterError, code: str, *words: str, status: int = 400
    ) -> RouterError:
        """Assert that the result is this error, with ``words`` in its message."""
        assert isinstance(answer, RouterError), answer
        self.assertEqual((answer.status, answer.code), (status, code))
        self.assertEqual(answer.param, "model" if status == 400 else None)
        for word in words:
            self.assertIn(word, answer.message)
        return answer


class CandidateTests(PlanTestCase):
    """The models that a selector means."""

    def test_the_alias_speaks_of_the_ranking(self) -> None:
        """Every ranked model is a candidate, in the ranking's order."""
        expected = Plan(Mode.ALIAS, candidates_of(("acme/B", "acme/A-TEE", "acme/C")))
        self.assertEqual(_plan("auto"), expected)

    def test_a_list_speaks_of_its_items(self) -> None:
        """The items are the candidates, ranked or not."""
        snapshot = _snapshot("acme/B")
        expected = Plan(Mode.LIST, candidates_of(("acme/C", "acme/A-TEE")))
        self.assertEqual(_plan("acme/C,acme/A-TEE", snapshot=snapshot), expected)

    def test_a_direct_name_is_the_one_candidate(self) -> None:
        """The text goes up as it came, suffix included, without the blanks around it."""
        for text in ("acme/B", "acme/B:latency", "acme/B:ThroughPut ", " acme/B\n"):
            self.assertEqual(_plan(text), Plan(Mode.DIRECT, candidates_of((text.strip(),))))

    def test_nothing_ranked(self) -> None:
        """An alias without candidates is a temporary error: 503 with Retry-After."""
        refusal = self.check_refused(
            _plan("auto", snapshot=_snapshot()), "no_candidates", status=503
        )
        self.assertEqual(refusal.message, "No model is available right now.")
        self.assertEqual(refusal.retry_after, 5)
        self.check_refused(_plan("auto", snapshot=Snapshot()), "no_candidates", status=503)
        empty = _snapshot()
        self.check_refused(_plan("auto", snapshot=empty, rules=TEE), "no_candidates", status=503)

    def test_a_repeated_name_is_one_candidate(self) -> None:
        """Neither a ranking nor a selector yields a candidate twice."""
        snapshot = _snapshot("acme/B", "acme/C", "acme/B")
        self.assertEqual(
            _plan("auto", snapshot=snapshot), Plan(Mode.ALIAS, candidates_of(("acme/B", "acme/C")))
        )


class UnknownTests(PlanTestCase):
    """Names that are not in the catalog."""

    def test_every_unknown_item_is_named(self) -> None:
        """A list with unknown items is rejected as a whole, and the message names only those."""
        answer = self.check_refused(
            _plan("acme/B,nope,acme/C,nix"), "unknown_model", "'nope'", "'nix'", "models"
        )
        self.assertNotIn("acme/C'", answer.message.replace("mean 'acme/C'", ""))

    def test_a_direct_name(self) -> None:
        """An unknown direct name is rejected with a suggestion."""
        self.check_refused(_plan("acm/b"), "unknown_model", "'acm/b' (did you mean 'acme/B'")

    def test_the_platforms_suffixes(self) -> None:
        """A direct name may have the platform's suffixes, but its model must exist."""
        for suffix in (":latency", ":THROUGHPUT", ":THINKING", ":THINKING:latency"):
            text = f"acme/B{suffix}"
            self.assertEqual(_plan(text), Plan(Mode.DIRECT, candidates_of((text,))))
            self.check_refused(_plan(f"nope{suffix}"), "unknown_model", f"'nope{suffix}'")

    def test_other_suffixes(self) -> None:
        """Any other suffix is a part of the name."""
        for suffix in (":thinking", ":premium", ":latency:THINKING", ":latency:latency"):
            self.check_refused(_plan(f"acme/B{suffix}"), "unknown_model")

    def test_list_items_have_no_suffix_of_their_own(self) -> None:
        """Only the whole list has an order: an item with one is unknown."""
        self.check_refused(_plan("acme/B:latency,acme/C"), "unknown_model", "'acme/B:latency'")
        accepted = _plan("acme/C,acme/B:latency")
        self.assertEqual(accepted, Plan(Mode.LIST, candidates_of(("acme/C", "acme/B"))))

    def test_a_full_name_with_a_suffix_in_the_catalog(self) -> None:
        """A model whose own name ends like a suffix is known by that name."""
        snapshot = _snapshot(catalog=Catalog.of([Model("odd:latency"), B]))
        self.assertEqual(
            _plan("odd:latency", snapshot=snapshot),
            Plan(Mode.DIRECT, candidates_of(("odd:latency",))),
        )

    def test_a_chute_id(self) -> None:
        """A chute's id is accepted as a direct name, as on the platform."""
        self.assertEqual(_plan("id-b"), Plan(Mode.DIRECT, candidates_of(("id-b",))))
        self.assertEqual(_plan("id-b:latency"), Plan(Mode.DIRECT, candidates_of(("id-b:latency",))))
        self.assertEqual(_plan("id-b,acme/C"), Plan(Mode.LIST, candidates_of(("id-b", "acme/C"))))

    def test_an_alias_in_a_list(self) -> None:
        """The alias cannot stand in front of an item, whatever else is checked or known."""
        odd = _snapshot(catalog=Catalog.of([Model("auto"), B]))
        for answer in (
            _plan("auto,acme/B"),
            _plan("auto,acme/B", rules=FORWARD),
            _plan("auto,acme/B", snapshot=_snapshot(catalog=None)),
            _plan("auto,acme/B", snapshot=odd),
        ):
            self.check_refused(answer, "unknown_model", "'auto'", "only be the last item of a list")
        answer = _plan("acme/B,AUTO,nope,acme/C")
        self.check_refused(answer, "unknown_model", "'AUTO' (an alias", "'nope'", "models")

    def test_blanks_are_not_forgiven_in_a_direct_name(self) -> None:
        """ASCII blanks around a name are ignored; other blanks make it unknown."""
        self.check_refused(_plan("acme/B\u00a0"), "unknown_model", r"'acme/B\xa0'")

    def test_forward_turns_the_check_off(self) -> None:
        """With UNKNOWN_MODELS=forward unknown names are passed on."""
        self.assertEqual(
            _plan("my-private", rules=FORWARD), Plan(Mode.DIRECT, candidates_of(("my-private",)))
        )
        self.assertEqual(
            _plan("x,acme/B", rules=FORWARD), Plan(Mode.LIST, candidates_of(("x", "acme/B")))
        )

    def test_without_a_catalog_nothing_is_checked(self) -> None:
        """Without a catalog, and with an empty one, every name is accepted."""
        for catalog in (None, Catalog.of([])):
            snapshot = _snapshot(catalog=catalog)
            self.assertEqual(
                _plan("x", snapshot=snapshot), Plan(Mode.DIRECT, candidates_of(("x",)))
            )
            self.assertEqual(
                _plan("x,y", snapshot=snapshot), Plan(Mode.LIST, candidates_of(("x", "y")))
            )


class SpellingTests(PlanTestCase):
    """Names that the catalog spells otherwise."""

    def test_the_catalogs_name_goes_up(self) -> None:
        """Case, -TEE and blanks are the catalog's, also where unknown names are forwarded."""
        for rules in (RULES, FORWARD):
            for text in ("ACME/a", "acme/A", " acme/a-tee "):
                expected = Plan(Mode.DIRECT, candidates_of(("acme/A-TEE",)))
                self.assertEqual(_plan(text, rules=rules), expected)
        self.assertEqual(
            _plan("acme/a:latency"), Plan(Mode.DIRECT, candidates_of(("acme/A-TEE:latency",)))
        )
        self.assertEqual(
            _plan("acme/b, acme/c:THINKING"),
            Plan(Mode.LIST, candidates_of(("acme/B", "acme/C:THINKING"))),
        )

    def test_duplicates_are_dropped_after_that(self) -> None:
        """Of several spellings of a model the first stays; with :THINKING it is another."""
        self.assertEqual(
            _plan("acme/b,acme/B,id-b,acme/B:THINKING,id-b:THINKING"),
            Plan(Mode.LIST, candidates_of(("acme/B", "acme/B:THINKING"))),
        )
        self.assertEqual(
            _plan("id-b,acme/C,acme/B"), Plan(Mode.LIST, candidates_of(("id-b", "acme/C")))
        )

    def test_the_usual_spelling(self) -> None:
        """Names that are the catalog's, even all of its names, are not looked up at all."""
        with patch.object(plan_module, "look_up", side_effect=AssertionError):
            for text in ("acme/B", "acme/C,acme/B", "acme/B,acme/A-TEE,acme/C"):
                planned = _plan(text)
                assert isinstance(planned, Plan)
                self.assertEqual(planned.models, tuple(text.split(",")))

    def test_several_names(self) -> None:
        """A name that several names are near to is unknown."""
        snapshot = _snapshot(catalog=Catalog.of([B, Model("Acme/B")]))
        self.check_refused(_plan("ACME/B", snapshot=snapshot), "unknown_model")


class AliasLastTests(PlanTestCase):
    """A list that ends with the alias: these, else whatever is best."""

    def test_the_rest_follows(self) -> None:
        """The alias adds its candidates in its order, without those that are named."""
        self.assertEqual(
            _plan("acme/C,auto"),
            _then(("acme/C",), ("acme/B", "acme/A-TEE")),
        )
        self.assertEqual(
            _plan("id-b,acme/a:THINKING,auto"),
            _then(("id-b", "acme/A-TEE:THINKING"), ("acme/C",)),
        )
        expected = _then((), ("acme/B", "acme/A-TEE", "acme/C"))
        self.assertEqual(_plan("auto,"), expected)

    def test_needs_concern_what_is_added(self) -> None:
        """What the client named stays; what the router adds must be capable."""
        images = Needs(images=True)
        self.assertEqual(
            _plan("acme/A-TEE,auto", needs=images),
            _then(("acme/A-TEE",), ("acme/B", "acme/C")),
        )
        self.assertEqual(
            _plan("acme/B,auto", needs=images),
            _then(("acme/B",), ("acme/C",)),
        )

    def test_nothing_to_add(self) -> None:
        """Without candidates of the alias the named models remain."""
        expected = Plan(Mode.LIST, candidates_of(("acme/C",)))
        self.assertEqual(_plan("acme/C,auto", snapshot=_snapshot()), expected)
        refusal = _plan("auto,", snapshot=_snapshot())
        self.check_refused(refusal, "no_candidates", status=503)

    def test_tee(self) -> None:
        """TEE filters both; the error concerns the names, if there are any."""
        expected = Plan(Mode.LIST, candidates_of(("acme/A-TEE",)))
        self.assertEqual(_plan("acme/C,auto", tee_only=True), _then((), ("acme/A-TEE",)))
        self.assertEqual(_plan("acme/a,acme/C,auto", rules=TEE), expected)
        unmarked = _snapshot()
        self.check_refused(_plan("acme/C,auto", rules=TEE, snapshot=unmarked), "tee_required")
        self.check_refused(
            _plan("auto,", rules=TEE, snapshot=unmarked), "no_candidates", status=503
        )
        self.assertEqual(_plan("acme/a,auto", rules=TEE, snapshot=unmarked), expected)

    def test_unknown_names(self) -> None:
        """The names in front are checked as in any list."""
        self.check_refused(_plan("nope,auto"), "unknown_model", "'nope'")


class WhyTests(PlanTestCase):
    """Why each candidate of a plan is tried."""

    def whys(self, text: str) -> list[tuple[str, Why]]:
        """Return the candidates of a selector, each with its reason."""
        planned = _plan(text)
        assert isinstance(planned, Plan), planned
        return [(each.model, planned.why(each)) for each in planned.candidates]

    def test_each_mode(self) -> None:
        """The ranking, the client's list or the client's one name is the reason."""
        best = [("acme/B", Why.BEST), ("acme/A-TEE", Why.BEST), ("acme/C", Why.BEST)]
        self.assertEqual(self.whys("auto"), best)
        self.assertEqual(self.whys("acme/C,"), [("acme/C", Why.LISTED)])
        self.assertEqual(self.whys("acme/C"), [("acme/C", Why.DIRECT)])

    def test_what_the_alias_adds(self) -> None:
        """Behind the items of a list, the models of its alias are there for their rank."""
        self.assertEqual(
            self.whys("acme/C,auto"),
            [("acme/C", Why.LISTED), ("acme/B", Why.BEST), ("acme/A-TEE", Why.BEST)],
        )

    def test_the_first_only(self) -> None:
        """A plan without failover keeps its mode and the reason of its one candidate."""
        planned = Plan(Mode.LIST, candidates_of(("b", "a")), True, frozenset("b"))
        expected = Plan(Mode.LIST, candidates_of(("b",)), True, frozenset("b"))
        self.assertEqual(planned.first_only, expected)
        self.assertEqual(planned.first_only.why(planned.candidates[0]), Why.BEST)


class ConfidentialTests(PlanTestCase):
    """Trusted execution environments, required by the request or by the operator."""

    def both(self, text: str, snapshot: Snapshot = ALL) -> Plan | RouterError:
        """Return the result, which must not depend on who requires confidentiality."""
        by_request = _plan(text, tee_only=True, snapshot=snapshot)
        self.assertEqual(_plan(text, rules=TEE, snapshot=snapshot), by_request)
        return by_request

    def test_only_marked_models_are_candidates(self) -> None:
        """A model marked otherwise, or not marked, is left out of alias and list."""
        self.assertEqual(self.both("auto"), Plan(Mode.ALIAS, candidates_of(("acme/A-TEE",))))
        self.assertEqual(
            self.both("acme/C,acme/A-TEE"), Plan(Mode.LIST, candidates_of(("acme/A-TEE",)))
        )
        self.assertEqual(self.both("acme/A-TEE"), Plan(Mode.DIRECT, candidates_of(("acme/A-TEE",))))

    def test_none_left(self) -> None:
        """Without a marked model the request is refused in every mode."""
        self.check_refused(self.both("auto", _snapshot("acme/B", "acme/C")), "tee_required")
        self.check_refused(self.both("acme/B,acme/C"), "tee_required")
        refusal = self.check_refused(self.both("acme/C"), "tee_required")
        self.assertEqual(
            refusal.message,
            "A trusted execution environment is required, and none of the models that may serve "
            "this request is marked as running in one.",
        )

    def test_a_name_is_no_mark(self) -> None:
        """Without a catalog no model counts as confidential, whatever its name."""
        snapshot = _snapshot("acme/A-TEE", catalog=None)
        for text in ("auto", "acme/A-TEE", "acme/A-TEE,"):
            self.check_refused(self.both(text, snapshot), "tee_required")

    def test_platform_forms_of_a_marked_model(self) -> None:
        """A model named with a suffix or by its chute's id keeps its mark."""
        for text in ("acme/A-TEE:latency", "acme/A-TEE:THINKING", "id-a"):
            self.assertEqual(self.both(text), Plan(Mode.DIRECT, candidates_of((text,))))

    def test_unknown_comes_first(self) -> None:
        """A name that does not exist is reported as unknown, not as unmarked."""
        self.check_refused(self.both("nope"), "unknown_model")

    def test_forwarded_names_are_not_marked(self) -> None:
        """A forwarded name never counts as confidential."""
        self.check_refused(_plan("x", rules=FORWARD, tee_only=True), "tee_required")
        expected = Plan(Mode.LIST, candidates_of(("acme/A-TEE",)))
        self.assertEqual(_plan("x,acme/A-TEE", rules=FORWARD, tee_only=True), expected)


class CapableTests(PlanTestCase):
    """The needs of a request for the alias."""

    def test_models_known_to_lack_it_are_left_out(self) -> None:
        """Only models that are known to lack a need are left out."""
        images = _plan("auto", needs=Needs(images=True))
        self.assertEqual(images, Plan(Mode.ALIAS, candidates_of(("acme/B", "acme/C"))))
        length = _plan("auto", needs=Needs(completion_tokens=101))
        self.assertEqual(length, Plan(Mode.ALIAS, candidates_of(("acme/B", "acme/C"))))
        both = _plan("auto", needs=Needs(images=True, json_mode=True))
        self.assertEqual(both, Plan(Mode.ALIAS, candidates_of(("acme/C",))))

    def test_none_left(self) -> None:
        """The needs that no model meets are named, each once."""
        snapshot = _snapshot("acme/A-TEE", "acme/B", "acme/A-TEE")
        needs = Needs(video=True, json_mode=True)
        answer = _plan("auto", needs=needs, snapshot=snapshot)
        refusal = self.check_refused(answer, "no_capable_model")
        self.assertEqual(
            refusal.message,
            "No model behind the alias supports at once all that this request needs: video,"
            " json_mode. Closest: 'acme/A-TEE' (no video); 'acme/B' (no json_mode).",
        )

    def test_lists_and_direct_names_are_the_clients_choice(self) -> None:
        """Lists and direct names are not filtered by needs."""
        needs = Needs(images=True, completion_tokens=1000)
        self.assertEqual(
            _plan("acme/A-TEE", needs=needs), Plan(Mode.DIRECT, candidates_of(("acme/A-TEE",)))
        )
        self.assertEqual(
            _plan("acme/A-TEE,", needs=needs), Plan(Mode.LIST, candidates_of(("acme/A-TEE",)))
        )

    def test_models_outside_the_catalog_stay(self) -> None:
        """A ranked model without a catalog entry is not known to lack anything."""
        snapshot = _snapshot("x-TEE", catalog=None)
        self.assertEqual(
            _plan("auto", needs=Needs(tools=True), snapshot=snapshot),
            Plan(Mode.ALIAS, candidates_of(("x-TEE",))),
        )

    def test_tee_comes_first(self) -> None:
        """A missing environment is reported before missing capabilities."""
        snapshot = _snapshot("acme/B")
        answer = _plan("auto", needs=Needs(json_mode=True), tee_only=True, snapshot=snapshot)
        self.check_refused(answer, "tee_required")


class SettleTests(SynchronousTestCase):
    """Direct names that are left to the router's choice."""

    def settled(
        self,
        text: str,
        *patterns: str,
        unknown: UnknownModels = "reject",
        catalog: Catalog = CATALOG,
    ) -> tuple[Mode, tuple[str, ...]]:
        """Return the mode and the names of what a selector becomes."""
        rules = Rules(
            frozenset({"auto"}), 8, unknown_models=unknown, patterns=patterns_of(patterns)
        )
        parsed = parse_selector(text, rules.aliases, 8, rules.patterns)
        assert isinstance(parsed, Selector)
        settled = settle(parsed, catalog, rules)
        self.assertEqual((settled.text, settled.order), (text, parsed.order))
        return settled.mode, settled.names

    def test_pattern(self) -> None:
        """A name that matches and is not in the catalog means the alias; any other does not."""
        self.assertEqual(self.settled("gpt-4o", "gpt-*"), (Mode.ALIAS, ()))
        self.assertEqual(self.settled("gpt-4o:latency", "gpt-*"), (Mode.ALIAS, ()))
        self.assertEqual(self.settled("o3", "gpt-*"), (Mode.DIRECT, ("o3",)))

    def test_unknown(self) -> None:
        """`UNKNOWN_MODELS=alias` leaves every name to the router; its other words leave none."""
        self.assertEqual(self.settled("o3", unknown="alias"), (Mode.ALIAS, ()))
        self.assertEqual(self.settled("o3", unknown="reject"), (Mode.DIRECT, ("o3",)))
        self.assertEqual(self.settled("o3", unknown="forward"), (Mode.DIRECT, ("o3",)))

    def test_the_catalog_comes_first(self) -> None:
        """A name that the catalog has, in whatever spelling, stays that model's."""
        for name in ("acme/C", "ACME/c", "acme/a", "id-b", "acme/C:THINKING", "acme/c:latency"):
            self.assertEqual(self.settled(name, "*", unknown="alias"), (Mode.DIRECT, (name,)))

    def test_empty_catalog(self) -> None:
        """By an empty catalog no name is unknown; a pattern counts all the same."""
        empty = Catalog.of([])
        self.assertEqual(
            self.settled("x/y", unknown="alias", catalog=empty), (Mode.DIRECT, ("x/y",))
        )
        self.assertEqual(self.settled("x/y", "x/*", catalog=empty), (Mode.ALIAS, ()))

    def test_lists_stay(self) -> None:
        """An unknown item of a list is an error, as before."""
        self.assertEqual(self.settled("o3,", "*", unknown="alias"), (Mode.LIST, ("o3",)))
        rules = Rules(frozenset({"auto"}), 8, unknown_models="alias", patterns=patterns_of(["*"]))
        refused = _plan("acme/C,o3", rules=rules)
        assert isinstance(refused, RouterError)
        self.assertEqual((refused.code, "'o3'" in refused.message), ("unknown_model", True))


class PickTests(SynchronousTestCase):
    """The next candidate of a plan in progress."""

    def test_the_first_that_is_not_cooling(self) -> None:
        """A model that has begun to cool since is skipped."""
        self.assertEqual(pick(candidates_of(("a", "b", "c")), frozenset()).model, "a")
        self.assertEqual(pick(candidates_of(("a", "b", "c")), frozenset({"a", "c"})).model, "b")

    def test_all_cooling(self) -> None:
        """If all candidates are cooling, the first is tried."""
        self.assertEqual(pick(candidates_of(("a", "b")), frozenset({"a", "b", "c"})).model, "a")
