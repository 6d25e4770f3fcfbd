"""Tests of the 400 ``unknown_model`` error."""

from __future__ import annotations

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing import suggest
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.selector import Mode
from autopilot.routing.suggest import close, echo, hint, not_served_here, unknown_model

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
WAY_ON = (
    " Ask for 'chutesai/AutoPilot', and the router chooses a model; GET /v1/models lists all names."
)


def _message(*unknown: str, mode: Mode = Mode.LIST, catalog: Catalog = CATALOG) -> str:
    refusal = unknown_model(unknown, catalog, ALIASES, mode)
    assert (refusal.status, refusal.code, refusal.param) == (400, "unknown_model", "model")
    return refusal.message


class SuggestionTests(SynchronousTestCase):
    """The suggested names."""

    def test_nothing_near(self) -> None:
        """Without a close match the message names the model and the way on."""
        self.assertEqual(_message("xyz"), "Unknown model: 'xyz'." + WAY_ON)
        self.assertEqual(_message("xyz", "!"), "Unknown models: 'xyz'; '!'." + WAY_ON)

    def test_private_alias(self) -> None:
        """The alias of private mode is suggested to who nearly writes it, and nowhere else."""
        near = _message("AutoPilot-Private", mode=Mode.DIRECT)
        self.assertIn("(did you mean 'chutesai/AutoPilot-Private'?)", near)
        self.assertIn("can only be the last item", _message("chutesai/autopilot-private"))
        self.assertNotIn("Private", _message("chutesai/AutoPilo", mode=Mode.DIRECT))

    def test_default_names_of_tools(self) -> None:
        """The names that tools send unless told otherwise get the way on, and no far-fetched match.

        The same holds if only one of a list has no match.
        """
        for name in ("gpt-4o", "gpt-4o-mini", "gpt-5", "o3", "claude-sonnet-4-5", "default"):
            for mode in Mode:
                self.assertEqual(_message(name, mode=mode), f"Unknown model: '{name}'." + WAY_ON)
        self.assertTrue(_message("glm-5", "gpt-4o").endswith("'gpt-4o'." + WAY_ON))

    def test_no_way_on(self) -> None:
        """With a match for each name, or without an alias, there is nothing to add."""
        self.assertTrue(_message("glm-5").endswith("?)."))
        said = unknown_model(["gpt-4o"], CATALOG, frozenset(), Mode.DIRECT).message
        self.assertEqual(said, "Unknown model: 'gpt-4o'.")

    def test_several_aliases(self) -> None:
        """Of several aliases the first in alphabetical order is named."""
        said = unknown_model(["gpt-4o"], CATALOG, frozenset({"b", "a", "c"}), Mode.DIRECT).message
        self.assertIn(" Ask for 'a', and", said)

    def test_case_does_not_matter(self) -> None:
        """A name in the wrong case is found."""
        self.assertEqual(
            _message("QWEN/qwen3-32b-tee"),
            "Unknown model: 'QWEN/qwen3-32b-tee' (did you mean 'Qwen/Qwen3-32B-TEE'?).",
        )

    def test_a_part_of_a_name(self) -> None:
        """A name without organisation or suffix is found; three suggestions at most."""
        self.assertIn("(did you mean 'moonshotai/Kimi-K3-TEE'?)", _message("Kimi-K3"))
        near = "'zai-org/GLM-5-TEE' or 'zai-org/GLM-5.2-TEE' or 'zai-org/GLM-5.1-TEE'?"
        self.assertIn(f"(did you mean {near})", _message("glm-5"))
        self.assertEqual(_message("zai-org").count("zai-org/"), 3)

    def test_the_likeliest_comes_first(self) -> None:
        """Names that differ in case, organisation, suffix or punctuation only come first."""
        names = (
            *("deepseek-ai/DeepSeek-V3-0324-TEE", "deepseek-ai/DeepSeek-V3.1-TEE"),
            *("deepseek-ai/DeepSeek-V3", "Qwen/Qwen3-32B-TEE", "zai-org/GLM-5-TEE"),
            *("openai/gpt-oss-120b-TEE", "unsloth/Llama-3.2-3B-Instruct"),
        )
        for wanted, first, others in (
            ("DEEPSEEK-AI/deepseek-v3", "deepseek-ai/DeepSeek-V3", 0),
            ("DeepSeek-V3", "deepseek-ai/DeepSeek-V3", 2),
            ("deepseek/deepseek-v3", "deepseek-ai/DeepSeek-V3", 2),
            ("deepsek-v3", "deepseek-ai/DeepSeek-V3", 2),
            ("deepseek_v3.1", "deepseek-ai/DeepSeek-V3.1-TEE", 1),
            ("qwen3 32b", "Qwen/Qwen3-32B-TEE", 0),
            ("GLM5", "zai-org/GLM-5-TEE", 0),
            ("openai/gpt-oss-120b", "openai/gpt-oss-120b-TEE", 0),
            ("gpt-oss", "openai/gpt-oss-120b-TEE", 0),
            ("unsloth/Llama-3.2-3B-Instruct-TEE", "unsloth/Llama-3.2-3B-Instruct", 0),
        ):
            near = close(wanted, names)
            self.assertEqual((near[0], len(near) - 1), (first, others), (wanted, near))
        for wanted in ("gpt-4o", "claude-sonnet-4", "x/y", "/", "-", ""):
            self.assertEqual(close(wanted, names), [], wanted)

    def test_what_counts_most(self) -> None:
        """Equal up to punctuation comes first, then containment, then similarity."""
        for wanted, names in (
            ("a/b", ("A/b", "a/B")),
            ("abc-d", ("x/ab-cd", "x/0123456789abc-d")),
            ("abc-d", ("x/abc-d", "x/ab-cd")),
            ("abc-d", ("x/1abc-d", "x/0123456789abc-d")),
            ("abcdefgh", ("abcdefgh-0123456789-0123456789", "abcdefg")),
            ("abcdefgh", ("abcdefg", "abcdefxy")),
        ):
            near = close(wanted, tuple(reversed(names)))
            self.assertEqual(near, list(names) if wanted != "a/b" else ["a/B"], wanted)

    def test_just_alike_enough(self) -> None:
        """Three common pairs of five are just enough."""
        self.assertEqual(close("abcdxy", ["abcdzw"]), ["abcdzw"])
        self.assertEqual(close("abcdxy", ["abcvzw"]), [])
        self.assertEqual(close("abcdefgh", ["abcd"]), ["abcd"])

    def test_alike_but_for_the_organisation(self) -> None:
        """Names may be similar without their organisations only."""
        self.assertEqual(close("qwertyuiop-lmn/abcdef", ["zz/abcdeg"]), ["zz/abcdeg"])

    def test_as_near_as_each_other(self) -> None:
        """Equally close names keep the catalog's order."""
        self.assertEqual(close("a/bcd-3", ("a/bcd-2", "a/bcd-1")), ["a/bcd-2", "a/bcd-1"])

    def test_an_order_is_no_part_of_a_name(self) -> None:
        """An order suffix does not affect the comparison."""
        said = _message("Kimi-K3:Latency", mode=Mode.DIRECT)
        self.assertIn("'Kimi-K3:Latency' (did you mean 'moonshotai/Kimi-K3-TEE'?)", said)

    def test_bounded_work(self) -> None:
        """Each catalog name is compared once, however similar the names are."""
        names = [f"abcdefgh{place:03}" for place in range(500)]
        with patch.object(
            suggest._Spelling, "nearness", autospec=True, side_effect=suggest._Spelling.nearness
        ) as compared:
            self.assertEqual(len(close("abcdefghi" + "h" * 50_000, names)), 3)
        self.assertEqual(compared.call_count, 500)

    def test_bounded_list(self) -> None:
        """Several unknown names share the comparisons, and have suggestions all the same."""
        catalog = Catalog.of(Model(f"abcdefgh{place:03}") for place in range(600))
        nearness = suggest._Spelling.nearness
        for count, compared in ((1, 500), (2, 500), (3, 498), (8, 500)):
            unknown = [f"abcdefg{place}" for place in range(count)]
            with patch.object(
                suggest._Spelling, "nearness", autospec=True, side_effect=nearness
            ) as compare:
                message = _message(*unknown, catalog=catalog)
            self.assertEqual(compare.call_count, compared)
            self.assertEqual(message.count("did you mean"), min(count, 4))

    def test_pairs_of_unlike_names(self) -> None:
        """The pairs of a name that shares too few with the wanted one are never collected."""
        names = [f"other/{place:03}" for place in range(500)]
        with patch.object(suggest, "_pairs", wraps=suggest._pairs) as collected:
            self.assertEqual(close("abcdefghi", names), [])
        self.assertEqual(collected.call_count, 2)

    def test_pairs_of_like_names(self) -> None:
        """Those of similar names are collected for the nearest at first sight only."""
        names = [f"acme/other-{place:03}" for place in range(500)]
        with patch.object(suggest, "_pairs", wraps=suggest._pairs) as collected:
            self.assertEqual(close("acme/othre-250", names)[0], "acme/other-250")
        self.assertEqual(collected.call_count, 2 + 2 * 16)

    def test_the_nearest_at_first_sight(self) -> None:
        """A similar name is among those measured, however many share pairs with the wanted one."""
        wanted, tail = "abcdefghijklmnopqrst", "z9y8x7w6v5u4t3s2r1q0pzoxnylwmuk"
        for text, near, others in (
            # Much longer names have more of the pairs, but these are few among their own.
            ("abcdefgh", "abcdefxh", [f"abcdefg{tail}{place}" for place in range(20)]),
            # Shorter names have fewer of them.
            (wanted, "abcdefghijklmn-uvwxyz", [f"abcdefghij{90817200 + n}" for n in range(20)]),
            # Names with less than three of seven pairs cannot be similar, and are left out.
            (wanted, f"abcdefghijk{'lmn' * 6}l", [f"abcdefghi{place}" for place in range(20)]),
        ):
            self.assertEqual(close(text, [*others, near]), [near], text)

    def test_a_long_name_is_cut(self) -> None:
        """No more than the first 64 pairs of a name count."""
        self.assertEqual(len(suggest._pairs("".join(map(chr, range(300))))), 64)

    def test_two_characters_are_no_part(self) -> None:
        """A fragment of two characters suggests nothing."""
        self.assertEqual(_message("GL"), "Unknown model: 'GL'." + WAY_ON)
        self.assertIn("did you mean", _message("GLM"))

    def test_a_misspelt_name(self) -> None:
        """A misspelled name is found, the closest first, each once."""
        message = _message("zai-org/GLM-5.2-TE")
        self.assertIn("(did you mean 'zai-org/GLM-5.2-TEE' or ", message)
        self.assertEqual(message.count("'zai-org/GLM-5.2-TEE'"), 1)

    def test_the_alias(self) -> None:
        """The alias is suggested for a direct name, and not for an item of a list."""
        text = "chutesai/autopilott"
        self.assertIn("mean 'chutesai/AutoPilot'?", _message(text, mode=Mode.DIRECT))
        self.assertEqual(_message(text), f"Unknown model: '{text}'." + WAY_ON)
        whole = _message("chutesai/AutoPilot")
        self.assertEqual(
            whole,
            "Unknown model: 'chutesai/AutoPilot' (an alias can only be the last item of a list).",
        )
        self.assertIn("last item of a list", _message("CHUTESAI/autopilot"))

    def test_only_the_first_four_are_explained(self) -> None:
        """Every unknown name is listed, but only the first four get suggestions."""
        message = _message(*(f"moonshotai/Kimi-K3-TEE{'!' * at}" for at in range(1, 7)))
        self.assertEqual(message.count("'moonshotai/Kimi-K3-TEE!"), 6)
        self.assertEqual(message.count("did you mean"), 4)
        self.assertTrue(message.endswith("'moonshotai/Kimi-K3-TEE!!!!!!'."), message)

    def test_a_huge_catalog_is_searched_in_part(self) -> None:
        """At most 500 catalog names are compared."""
        catalog = Catalog.of(Model(f"acme/M{at:04}") for at in range(2000))
        self.assertIn("'acme/M0499'", _message("acme/m0499", catalog=catalog))
        self.assertNotIn("'acme/M0500'", _message("acme/m0500", catalog=catalog))

    def test_one_name_alone(self) -> None:
        """A name that shares the comparisons with no other has all of them."""
        catalog = Catalog.of(Model(f"acme/M{at:04}") for at in range(2000))
        self.assertEqual(
            hint("acme/m0499", catalog, frozenset(), Mode.DIRECT), " (did you mean 'acme/M0499'?)"
        )
        found = hint("acme/m0500", catalog, frozenset(), Mode.DIRECT)
        self.assertNotIn("'acme/M0500'", found)
        self.assertNotIn("'acme/M0250'", hint("acme/m0250", catalog, ALIASES, Mode.DIRECT, 2))

    def test_routes(self) -> None:
        """Routes come before the catalog, and count among the names that are compared."""
        catalog = Catalog.of(Model(f"acme/M{at:04}") for at in range(2000))
        routes = ("mine", "acme/M0007")
        for mode in (Mode.DIRECT, Mode.LIST):
            said = unknown_model(["Mine"], catalog, ALIASES, mode, routes).message
            self.assertEqual(said, "Unknown model: 'Mine' (did you mean 'mine'?).")
        near = hint("acme/m0497", catalog, ALIASES, Mode.DIRECT, 1, routes)
        self.assertEqual(near, " (did you mean 'acme/M0497'?)")
        self.assertNotIn("'acme/M0498'", hint("acme/m0498", catalog, ALIASES, Mode.LIST, 1, routes))


class NotServedTests(SynchronousTestCase):
    """Models of other services on a path that these do not serve."""

    def test_message(self) -> None:
        """It names the first four, the paths that serve them, and what to do."""
        error = not_served_here([f"@x/{number}" for number in range(5)])
        self.assertEqual((error.status, error.code, error.param), (400, "unknown_model", "model"))
        self.assertEqual(
            error.message,
            "Not served on this path: '@x/0'; '@x/1'; '@x/2'; '@x/3'. Other services than the"
            " platform are used for POST /v1/chat/completions and POST /v1/completions only; name a"
            " model of the platform.",
        )


class EchoTests(SynchronousTestCase):
    """How a client's text is echoed."""

    def test_long_names_are_cut(self) -> None:
        """A name is cut to 100 characters, visibly."""
        self.assertEqual(echo("x" * 100), f"'{'x' * 100}'")
        self.assertEqual(echo("x" * 101), f"'{'x' * 100}…'")
        self.assertLess(len(_message("y" * 1_000_000)), 200 + len(WAY_ON))

    def test_unprintable_characters_are_spelled_out(self) -> None:
        """Control characters, unusual blanks and lone surrogates are escaped; letters are not."""
        self.assertEqual(echo("a\n\x00\u00a0\u202e\ud800é"), r"'a\n\x00\xa0\u202e\ud800é'")
        self.assertEqual(echo("a b"), "'a b'")
