"""Tests of the 400 ``no_capable_model`` error."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.capability_errors import no_capable_model, no_passing_model
from autopilot.routing.catalog import Model
from autopilot.routing.requirements import Needs
from autopilot.routing.router_error import RouterError

TEXT = frozenset({"text"})
SEES = frozenset({"text", "image"})
TOOLS = frozenset({"tools"})


def _said(needs: Needs, *models: Model) -> str:
    refusal = no_capable_model(models, needs)
    assert (refusal.status, refusal.code, refusal.param) == (400, "no_capable_model", "model")
    assert refusal.retry_after is None
    return refusal.message


class NoCapableModelTests(SynchronousTestCase):
    """The unmet needs and the closest models that the message names."""

    def test_a_need_that_no_model_meets(self) -> None:
        """Only the needs that every model lacks are named; the others stand beside each model."""
        needs = Needs(images=True, tools=True)
        said = _said(
            needs,
            Model("a", input_modalities=TEXT, features=frozenset()),
            Model("b", input_modalities=TEXT, features=TOOLS),
        )
        self.assertEqual(
            said,
            "No model behind the alias supports what this request needs: images."
            " Closest: 'b' (no images); 'a' (no images, no tools).",
        )

    def test_several_needs_that_no_model_meets(self) -> None:
        """Every unmet need is named."""
        said = _said(
            Needs(images=True, tools=True),
            Model("a", input_modalities=TEXT, features=frozenset()),
        )
        self.assertIn(" supports what this request needs: images, tools. Closest: 'a' (", said)

    def test_needs_that_no_model_meets_together(self) -> None:
        """If some model meets each need, the message names the combination."""
        said = _said(
            Needs(images=True, tools=True),
            Model("a", input_modalities=TEXT, features=TOOLS),
            Model("b", input_modalities=SEES, features=frozenset()),
        )
        self.assertEqual(
            said,
            "No model behind the alias supports at once all that this request needs: images, tools."
            " Closest: 'a' (no images); 'b' (no tools).",
        )

    def test_limits(self) -> None:
        """The models with the highest limits come first, and the message quotes these limits."""
        lengths = (10, 40, 20, 30)
        models = [Model(str(each), max_output_length=each) for each in lengths]
        self.assertEqual(
            _said(Needs(completion_tokens=100), *models),
            "No model behind the alias supports what this request needs: completion_tokens."
            " Closest: '40' (completion_tokens up to 40); '30' (completion_tokens up to 30);"
            " '20' (completion_tokens up to 20).",
        )
        models = [Model(str(each), context_length=each) for each in lengths]
        said = _said(Needs(prompt_tokens=100), *models)
        self.assertIn("Closest: '40' (prompt_tokens up to 40); '30' ", said)

    def test_fewer_needs_count_more_than_limits(self) -> None:
        """A model that lacks length only is closer than one that also lacks tools."""
        said = _said(
            Needs(tools=True, completion_tokens=100),
            Model("long", max_output_length=90, features=frozenset()),
            Model("short", max_output_length=10, features=TOOLS),
        )
        self.assertIn(": completion_tokens. Closest: 'short' (", said)
        self.assertIn("; 'long' (no tools, completion_tokens up to 90).", said)

    def test_equally_near(self) -> None:
        """Of equally close models the better ranked come first, three at most."""
        models = [Model(each, features=frozenset()) for each in "dbca"]
        said = _said(Needs(tools=True), *models)
        self.assertTrue(said.endswith("'d' (no tools); 'b' (no tools); 'c' (no tools)."), said)

    def test_long_names(self) -> None:
        """Names are shortened and escaped like every echoed name."""
        said = _said(Needs(tools=True), Model("x" * 256, features=frozenset()))
        self.assertLess(len(said), 250)


class PassingTests(SynchronousTestCase):
    """The error of routes whose every model fails a filter."""

    def test_words(self) -> None:
        """Filters that all fail are named, else all that some fail; three models come closest."""
        for routes, failing, expected in (
            (
                ["r"],
                [("a", ("tee",)), ("b", ("tee", "max_price"))],
                (
                    "No model of the route 'r' passes its filter: tee. Closest: 'a' (fails tee);"
                    " 'b' (fails tee, max_price)."
                ),
            ),
            (
                ["r"],
                [("a", ("tee", "max_price")), ("b", ("tee", "max_price", "min_context"))],
                (
                    "No model of the route 'r' passes its filters: tee, max_price. Closest:"
                    " 'a' (fails tee, max_price); 'b' (fails tee, max_price, min_context)."
                ),
            ),
            (
                ["r", "s"],
                [
                    ("a", ("tee", "needs tools")),
                    ("b", ("max_price",)),
                    ("c", ("tee",)),
                    ("d", ("tee",)),
                ],
                (
                    "No model of the routes 'r', 's' passes their filters: tee, needs tools,"
                    " max_price, all at once. Closest: 'b' (fails max_price); 'c' (fails tee);"
                    " 'd' (fails tee)."
                ),
            ),
        ):
            self.assertEqual(
                no_passing_model(routes, failing),
                RouterError(400, "no_capable_model", expected, param="model"),
            )
