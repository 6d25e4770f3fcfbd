"""Tests of the models behind the alias, computed once for each combination of needs."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing import eligible
from autopilot.routing.candidate import Candidate, candidates_of
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.eligible import EligibleModels
from autopilot.routing.ranking import Load, Ranked, score
from autopilot.routing.requirements import NOTHING, Needs, lacking
from autopilot.routing.requirements import lacks as lacking_all
from autopilot.routing.router_error import RouterError
from autopilot.routing.routes import Route, models_of
from autopilot.routing.snapshot import Snapshot

NAMES = ("a", "b", "c", "d", "e")
LENGTHS = (10, 20, 30)
_sets = st.one_of(
    st.none(),
    st.frozensets(
        st.sampled_from(["image", "audio", "video", "tools", "structured_outputs", "json_mode"])
    ),
)
_models = st.builds(
    Model,
    name=st.sampled_from(NAMES),
    tee=st.sampled_from([None, True, False]),
    max_output_length=st.one_of(st.none(), st.sampled_from(LENGTHS)),
    context_length=st.one_of(st.none(), st.sampled_from(LENGTHS)),
    input_modalities=_sets,
    features=_sets,
)
_catalogs = st.one_of(st.none(), st.lists(_models, max_size=6).map(Catalog.of))
_tokens = st.one_of(
    st.none(), st.integers(), *(st.just(each + more) for each in LENGTHS for more in (-1, 0, 1))
)
_needs = st.builds(
    Needs,
    images=st.booleans(),
    audio=st.booleans(),
    video=st.booleans(),
    tools=st.booleans(),
    json_schema=st.booleans(),
    json_mode=st.booleans(),
    completion_tokens=_tokens,
    prompt_tokens=_tokens,
)


def _ranking(*names: str) -> tuple[Ranked, ...]:
    return tuple(score(Load(name, None, 1)) for name in names)


def _naive(
    catalog: Catalog | None, names: list[str], needs: Needs, tee_only: bool
) -> tuple[str, ...] | str:
    """Compute the same without a cache; of an error return the code and the unmet needs."""
    known = catalog.models if catalog is not None else {}
    found = list(dict.fromkeys(names))
    if not found:
        return "no_candidates"
    if tee_only:
        found = [name for name in found if name in known and known[name].tee is True]
        if not found:
            return "tee_required"
    lacks = {name: lacking(known[name], needs) if name in known else None for name in found}
    capable = tuple(name for name in found if lacks[name] is None)
    if capable:
        return capable
    all_lacks = [set(lacking_all(known[name], needs)) for name in found]
    missing = set.intersection(*all_lacks) or set.union(*all_lacks)
    return f"no_capable_model: {sorted(missing)}"


def _told(answer: tuple[Candidate, ...] | tuple[str, ...] | RouterError) -> tuple[str, ...] | str:
    if not isinstance(answer, RouterError):
        return tuple(each.model if isinstance(each, Candidate) else each for each in answer)
    if answer.code != "no_capable_model":
        return answer.code
    named = answer.message.partition(": ")[2].partition(". Closest: ")[0]
    return f"{answer.code}: {sorted(named.split(', '))}"


class EligibleModelsTests(SynchronousTestCase):
    """The models that may serve a request for the alias."""

    @settings(deadline=None, max_examples=300)
    @given(
        _catalogs,
        st.lists(st.sampled_from(NAMES), max_size=7),
        st.lists(st.tuples(_needs, st.booleans()), min_size=1, max_size=8),
    )
    def test_as_if_worked_out_each_time(
        self, catalog: Catalog | None, names: list[str], questions: list[tuple[Needs, bool]]
    ) -> None:
        """Whatever the cache holds, the result equals that of examining every model."""
        asked = EligibleModels(catalog, _ranking(*names))
        for needs, tee_only in questions * 2:
            self.assertEqual(
                _told(asked.serving(needs, tee_only)), _naive(catalog, names, needs, tee_only)
            )

    def test_worked_out_once(self) -> None:
        """A repeated question, or another number between the same limits, costs nothing."""
        catalog = Catalog.of([Model("a", max_output_length=10), Model("b", max_output_length=20)])
        asked = EligibleModels(catalog, _ranking("a", "b"))
        with patch.object(eligible, "lacking", wraps=lacking) as looked:
            first = asked.serving(Needs(completion_tokens=11), False)
            for tokens in (12, 20, 11):
                self.assertIs(asked.serving(Needs(completion_tokens=tokens), False), first)
            self.assertEqual(looked.call_count, 2)
            self.assertIs(
                asked.serving(Needs(completion_tokens=-(10**30)), False),
                asked.serving(NOTHING, False),
            )
            self.assertIs(
                asked.serving(Needs(completion_tokens=10**30), False),
                asked.serving(Needs(completion_tokens=21), False),
            )
        self.assertEqual(first, candidates_of(("b",)))

    def test_least_context(self) -> None:
        """The shortest context of the ranked models is reported if any is known."""
        models = [Model("a", context_length=30), Model("b", context_length=20), Model("c")]
        catalog = Catalog.of([*models, Model("d", context_length=10)])
        self.assertEqual(EligibleModels(catalog, _ranking("a", "b", "c")).least_context, 20)
        self.assertIsNone(EligibleModels(catalog, _ranking("c", "e")).least_context)
        self.assertIsNone(EligibleModels(None, _ranking("a")).least_context)

    def test_long_prompt(self) -> None:
        """A prompt that is too long leaves only models with a longer or unknown context.

        One whose length is not known leaves all, and what is cached for it concerns no other.
        """
        models = [Model("a", context_length=10), Model("b", context_length=20), Model("c")]
        asked = EligibleModels(Catalog.of(models), _ranking("a", "b", "c"))
        for tokens, left in ((None, "abc"), (10, "abc"), (11, "bc"), (20, "bc"), (21, "c")):
            self.assertEqual(
                set(self.names(asked.serving(Needs(prompt_tokens=tokens), False))), set(left)
            )

    def test_bounded(self) -> None:
        """Clients cannot make the cache grow without limit."""
        models = [Model(str(place), max_output_length=place) for place in range(300)]
        asked = EligibleModels(Catalog.of(models), _ranking(*(model.name for model in models)))
        for tokens in range(300):
            self.assertEqual(
                len(self.names(asked.serving(Needs(completion_tokens=tokens), False))),
                300 - tokens,
            )
            self.assertLessEqual(len(asked._cache), 256)

    def names(self, answer: tuple[Candidate, ...] | RouterError) -> tuple[str, ...]:
        """Return the eligible names; fail on an error."""
        assert not isinstance(answer, RouterError), answer
        return tuple(each.model for each in answer)

    def test_of_a_snapshot(self) -> None:
        """A snapshot makes its own instance, which does not count in comparisons of snapshots."""
        one = Snapshot(None, _ranking("a"))
        self.assertEqual(one.eligible.serving(NOTHING, False), candidates_of(("a",)))
        self.assertEqual(one, Snapshot(None, _ranking("a")))
        self.assertNotIn("eligible", repr(one))

    def test_routes(self) -> None:
        """The models of a route are looked for once, and apart where unknown names go."""
        asked = EligibleModels(Catalog.of([Model("a")]), ())
        route, other = Route("r", ("a", "z")), Route("s", ("a",))
        with patch.object(eligible, "models_of", wraps=models_of) as looked:
            kept = asked.route_models(route, False)
            self.assertEqual(kept, models_of(route, Catalog.of([Model("a")]), forwarded=False))
            self.assertIs(asked.route_models(route, False), kept)
            sent = asked.route_models(route, True)
            self.assertIs(asked.route_models(route, True), sent)
            self.assertEqual(looked.call_count, 2)
            asked.route_models(other, False)
            self.assertEqual(looked.call_count, 3)
        self.assertEqual(kept.unknown, ("z",))
        self.assertEqual([each.candidate.model for each in sent.models], ["a", "z"])
