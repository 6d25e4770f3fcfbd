"""The answer to an unknown name: short, printable and helpful."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.selector import Mode
from autopilot.routing.suggest import echo, unknown_model

CATALOG = Catalog.of(
    Model(name, f"id-{at}")
    for at, name in enumerate(
        (
            *("Qwen/Qwen3-32B-TEE", "zai-org/GLM-5.2-TEE", "zai-org/GLM-5.1-TEE"),
            *("zai-org/GLM-5-TEE", "moonshotai/Kimi-K3-TEE", "zai-org/GLM-4.6"),
        )
    )
)
ALIASES = frozenset({"chutesai/AutoPilot"})


def _message(*unknown: str, mode: Mode = Mode.LIST, catalog: Catalog = CATALOG) -> str:
    refusal = unknown_model(unknown, catalog, ALIASES, mode)
    assert (refusal.status, refusal.code, refusal.param) == (400, "unknown_model", "model")
    return refusal.message


class SuggestionTests(SynchronousTestCase):
    """What may have been meant."""

    def test_nothing_near(self) -> None:
        """A name like no other is only named."""
        self.assertEqual(_message("xyz"), "Unknown model: 'xyz'.")
        self.assertEqual(_message("xyz", "!"), "Unknown models: 'xyz'; '!'.")

    def test_case_does_not_matter(self) -> None:
        """A name in the wrong case is found."""
        self.assertEqual(
            _message("QWEN/qwen3-32b-tee"),
            "Unknown model: 'QWEN/qwen3-32b-tee' (did you mean 'Qwen/Qwen3-32B-TEE'?).",
        )

    def test_a_part_of_a_name(self) -> None:
        """A name without its organisation or its ending is found, three at most."""
        self.assertIn("(did you mean 'moonshotai/Kimi-K3-TEE'?)", _message("Kimi-K3"))
        near = "'zai-org/GLM-5.2-TEE' or 'zai-org/GLM-5.1-TEE' or 'zai-org/GLM-5-TEE'?"
        self.assertIn(f"(did you mean {near})", _message("glm-5"))
        self.assertEqual(_message("zai-org").count("zai-org/"), 3)

    def test_two_characters_are_no_part(self) -> None:
        """A fragment that is in most names suggests nothing."""
        self.assertEqual(_message("GL"), "Unknown model: 'GL'.")
        self.assertIn("did you mean", _message("GLM"))

    def test_a_misspelt_name(self) -> None:
        """A name that is spelled alike is found, the nearest first, each once."""
        message = _message("zai-org/GLM-5.2-TE")
        self.assertIn("(did you mean 'zai-org/GLM-5.2-TEE' or ", message)
        self.assertEqual(message.count("'zai-org/GLM-5.2-TEE'"), 1)

    def test_a_chute_id(self) -> None:
        """A chute's id in a list is answered with the model's name."""
        self.assertIn("'id-0' (did you mean 'Qwen/Qwen3-32B-TEE'?)", _message("id-0"))

    def test_the_alias(self) -> None:
        """The alias is suggested for a direct name, and not for an item of a list."""
        text = "chutesai/autopilot"
        self.assertIn("mean 'chutesai/AutoPilot'?", _message(text, mode=Mode.DIRECT))
        self.assertEqual(_message(text), f"Unknown model: '{text}'.")
        whole = _message("chutesai/AutoPilot")
        self.assertEqual(
            whole,
            "Unknown model: 'chutesai/AutoPilot' (an alias cannot be part of a list).",
        )

    def test_only_the_first_four_are_explained(self) -> None:
        """Every unknown name is named, however many there are."""
        message = _message(*(f"moonshotai/Kimi-K3-TEE{'!' * at}" for at in range(1, 7)))
        self.assertEqual(message.count("'moonshotai/Kimi-K3-TEE!"), 6)
        self.assertEqual(message.count("did you mean"), 4)
        self.assertTrue(message.endswith("'moonshotai/Kimi-K3-TEE!!!!!!'."), message)

    def test_a_huge_catalog_is_searched_in_part(self) -> None:
        """The search ends after 500 names."""
        catalog = Catalog.of(Model(f"acme/M{at:04}") for at in range(2000))
        self.assertIn("'acme/M0499'", _message("acme/m0499", catalog=catalog))
        self.assertNotIn("'acme/M0500'", _message("acme/m0500", catalog=catalog))


class EchoTests(SynchronousTestCase):
    """What is echoed of a client's text."""

    def test_long_names_are_cut(self) -> None:
        """One hundred characters are enough, and the cut shows."""
        self.assertEqual(echo("x" * 100), f"'{'x' * 100}'")
        self.assertEqual(echo("x" * 101), f"'{'x' * 100}…'")
        self.assertLess(len(_message("y" * 1_000_000)), 200)

    def test_unprintable_characters_are_spelled_out(self) -> None:
        """Control characters, odd blanks and lone surrogates are escaped, letters are not."""
        self.assertEqual(echo("a\n\x00\u00a0\u202e\ud800é"), r"'a\n\x00\xa0\u202e\ud800é'")
        self.assertEqual(echo("a b"), "'a b'")
