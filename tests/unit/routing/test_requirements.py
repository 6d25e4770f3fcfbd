"""Tests of a request's needs against the catalog's facts about a model."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.catalog import Model
from autopilot.routing.requirements import NOTHING, Needs, lacking, lacks

BARE = Model(
    "m",
    max_output_length=100,
    context_length=200,
    input_modalities=frozenset(),
    features=frozenset(),
)
UNKNOWN = Model("m")
ALL = Needs(
    images=True,
    audio=True,
    video=True,
    tools=True,
    json_schema=True,
    json_mode=True,
    completion_tokens=101,
    prompt_tokens=201,
)


def _with(*features: str) -> Model:
    return Model("m", features=frozenset(features))


def _reads(*modalities: str) -> Model:
    return Model("m", input_modalities=frozenset(modalities))


class LackingTests(SynchronousTestCase):
    """The first need that a model is known to lack."""

    def test_unknown_is_no_reason(self) -> None:
        """A model without any stated facts lacks nothing."""
        self.assertIsNone(lacking(UNKNOWN, ALL))

    def test_a_plain_request_needs_nothing(self) -> None:
        """A model without any features serves a request without needs."""
        self.assertEqual(NOTHING, Needs())
        self.assertIsNone(lacking(BARE, NOTHING))

    def test_each_need_is_named(self) -> None:
        """A model without features lacks each need, reported under the need's name."""
        for need in ("images", "audio", "video", "tools", "json_schema", "json_mode"):
            self.assertEqual(lacking(BARE, Needs(**{need: True})), need)
        self.assertEqual(lacking(BARE, Needs(prompt_tokens=201)), "prompt_tokens")
        self.assertIsNone(lacking(BARE, Needs(completion_tokens=100, prompt_tokens=200)))
        self.assertEqual(lacking(BARE, Needs(completion_tokens=101)), "completion_tokens")

    def test_the_first_in_order_is_named(self) -> None:
        """Of several lacking needs the first counts: modalities, features, lengths."""
        everything = ("image", "audio", "video")
        features = ("tools", "structured_outputs", "json_mode")
        for have, need in enumerate(("images", "audio", "video")):
            self.assertEqual(lacking(_reads(*everything[:have]), ALL), need)
        for have, need in enumerate(("tools", "json_schema", "json_mode")):
            self.assertEqual(lacking(_with(*features[:have]), ALL), need)
        self.assertEqual(lacking(BARE, ALL), "images")

    def test_all_of_them(self) -> None:
        """Every need that is lacking, in the same order."""
        bare = Model("m", None, None, 5, 4, frozenset({"text"}), frozenset())
        asked = Needs(True, True, True, True, True, True, 5, 6)
        self.assertEqual(list(lacks(bare, asked)), list(Needs.__struct_fields__))
        self.assertEqual(
            list(lacks(bare, Needs(audio=True, prompt_tokens=6))), ["audio", "prompt_tokens"]
        )
        self.assertEqual(list(lacks(bare, Needs(completion_tokens=4, prompt_tokens=5))), [])

    def test_what_is_there_is_not_missed(self) -> None:
        """A model with all features lacks nothing."""
        model = Model(
            "m",
            max_output_length=101,
            input_modalities=frozenset({"text", "image", "audio", "video"}),
            features=frozenset({"tools", "json_mode", "structured_outputs"}),
        )
        self.assertIsNone(lacking(model, ALL))

    def test_the_misspelt_feature_counts(self) -> None:
        """The catalog's second spelling of structured outputs counts as well."""
        self.assertIsNone(lacking(_with("structured_output"), Needs(json_schema=True)))
        self.assertIsNone(lacking(_with("structured_outputs"), Needs(json_schema=True)))
        self.assertEqual(lacking(_with("json_mode"), Needs(json_schema=True)), "json_schema")

    def test_the_completion_limit_may_be_reached(self) -> None:
        """Exactly the model's output limit is accepted; one token more is not."""
        self.assertIsNone(lacking(BARE, Needs(completion_tokens=100)))
        self.assertEqual(lacking(BARE, Needs(completion_tokens=101)), "completion_tokens")
        self.assertIsNone(lacking(_with(), Needs(completion_tokens=101)))
