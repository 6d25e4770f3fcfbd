"""What a request is told that no model can serve."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.capability_errors import no_capable_model
from autopilot.routing.catalog import Model
from autopilot.routing.requirements import Needs

TEXT = frozenset({"text"})
SEES = frozenset({"text", "image"})
TOOLS = frozenset({"tools"})


def _said(needs: Needs, *models: Model) -> str:
    refusal = no_capable_model(models, needs)
    assert (refusal.status, refusal.code, refusal.param) == (400, "no_capable_model", "model")
    assert refusal.retry_after is None
    return refusal.message


class ShortfallTests(SynchronousTestCase):
    """Which need nobody meets, and who comes closest."""

    def test_a_need_that_no_model_meets(self) -> None:
        """Only what all of them lack is named; the rest stands with each model."""
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
        """All of them are named."""
        said = _said(
            Needs(images=True, tools=True),
            Model("a", input_modalities=TEXT, features=frozenset()),
        )
        self.assertIn(" supports what this request needs: images, tools. Closest: 'a' (", said)

    def test_needs_that_no_model_meets_together(self) -> None:
        """Where each need has its model, it is the combination that is missing."""
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
        """The longest answer and the longest context there are come first, as numbers."""
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
        """A model that only lacks length is nearer than one that also lacks tools."""
        said = _said(
            Needs(tools=True, completion_tokens=100),
            Model("long", max_output_length=90, features=frozenset()),
            Model("short", max_output_length=10, features=TOOLS),
        )
        self.assertIn(": completion_tokens. Closest: 'short' (", said)
        self.assertIn("; 'long' (no tools, completion_tokens up to 90).", said)

    def test_equally_near(self) -> None:
        """The better ranked one comes first, and three are enough."""
        models = [Model(each, features=frozenset()) for each in "dbca"]
        said = _said(Needs(tools=True), *models)
        self.assertTrue(said.endswith("'d' (no tools); 'b' (no tools); 'c' (no tools)."), said)

    def test_long_names(self) -> None:
        """Names are cut and escaped like every name that is echoed."""
        said = _said(Needs(tools=True), Model("x" * 256, features=frozenset()))
        self.assertLess(len(said), 250)
