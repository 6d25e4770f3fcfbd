"""Tests of parsing the ``model`` member."""

from __future__ import annotations

from typing import ClassVar

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.patterns import patterns_of
from autopilot.routing.private_mode import PRIVATE_ALIAS
from autopilot.routing.router_error import RouterError
from autopilot.routing.selector import (
    Mode,
    Order,
    Selector,
    SelectorCache,
    as_alias,
    is_too_long,
    missing_model,
    parse_selector,
    selector_of,
    split_order,
)

ALIASES = frozenset({"chutesai/AutoPilot", "auto"})
LATENCY = Order.LATENCY


def _parse(text: str, max_items: int = 8) -> Selector | RouterError:
    return parse_selector(text, ALIASES, max_items)


class SelectorTestCase(SynchronousTestCase):
    """Base of the test cases in this file."""

    def check(self, text: str, mode: Mode, names: tuple[str, ...], order: Order) -> None:
        """Assert the selector that ``text`` is parsed into."""
        found = _parse(text)
        assert isinstance(found, Selector), found
        self.assertEqual(
            (found.text, found.mode, found.names, found.order), (text, mode, names, order)
        )
        self.assertEqual(found, selector_of(text, mode, names, order))

    def check_refused(self, text: str, code: str, max_items: int = 8) -> str:
        """Assert that ``text`` is rejected, and return the message."""
        refusal = _parse(text, max_items)
        assert isinstance(refusal, RouterError), refusal
        self.assertEqual((refusal.status, refusal.code, refusal.param), (400, code, "model"))
        self.assertIsNone(refusal.retry_after)
        return refusal.message


class AliasTests(SelectorTestCase):
    """The alias and its other names."""

    def test_each_alias_name(self) -> None:
        """Every configured name selects the alias."""
        self.check("chutesai/AutoPilot", Mode.ALIAS, (), Order.GIVEN)
        self.check("auto", Mode.ALIAS, (), Order.GIVEN)

    def test_names_in_any_case(self) -> None:
        """The alias in another case is the alias, however its own name is spelled."""
        self.check("chutesai/autopilot", Mode.ALIAS, (), Order.GIVEN)
        self.check("AUTO:latency", Mode.ALIAS, (), Order.LATENCY)
        self.check("auto2", Mode.DIRECT, ("auto2",), Order.GIVEN)

    def test_cached(self) -> None:
        """The cache returns what parsing returns, in any case of the alias."""
        cache = SelectorCache(ALIASES, 2)
        for text in ("auto", "CHUTESAI/autopilot", "a,b", "a,Auto", "a,b,c", "", "x" * 65537):
            for _ in range(2):
                self.assertEqual(cache[text], _parse(text, max_items=2))

    def test_suffix_in_any_case(self) -> None:
        """The order suffix is recognized in any case."""
        self.check("auto:latency", Mode.ALIAS, (), Order.LATENCY)
        self.check("auto:LaTenCy", Mode.ALIAS, (), Order.LATENCY)
        self.check("chutesai/AutoPilot:THROUGHPUT", Mode.ALIAS, (), Order.THROUGHPUT)

    def test_ascii_blanks_around_it_are_trimmed(self) -> None:
        """Each of the six ASCII blanks is trimmed, around the name and around the suffix."""
        for blank in " \t\r\n\v\f":
            self.check(f"{blank}auto{blank}", Mode.ALIAS, (), Order.GIVEN)
            self.check(f"{blank}auto{blank}:latency{blank}", Mode.ALIAS, (), Order.LATENCY)

    def test_other_blanks_are_part_of_the_name(self) -> None:
        """A no-break space makes it another name."""
        for blank in "\u00a0\u2003\u3000\x1c\x85":
            text = f"auto{blank}"
            self.check(text, Mode.DIRECT, (text,), Order.GIVEN)

    def test_only_one_suffix_is_taken(self) -> None:
        """Only one suffix is removed; the rest must be an alias."""
        text = "auto:latency:throughput"
        self.check(text, Mode.DIRECT, (text,), Order.THROUGHPUT)

    def test_the_cache_is_bounded(self) -> None:
        """The cache begins anew when it is full, and does not keep long texts."""
        cache = SelectorCache(ALIASES, 2)
        for number in range(1024):
            cache[f"m{number}"]
        self.assertEqual(len(cache), 1024)
        cache["x" * 257]
        self.assertEqual(len(cache), 1024)
        cache["x" * 256]
        self.assertEqual(list(cache), ["x" * 256])


class DirectTests(SelectorTestCase):
    """Direct names."""

    def test_the_text_is_unchanged(self) -> None:
        """The suffix stays in the name, although the order is recognized."""
        for text, order in (
            ("acme/M", Order.GIVEN),
            ("acme/M:Latency", Order.LATENCY),
            ("acme/M :throughput", Order.THROUGHPUT),
            ("acme/M:THINKING", Order.GIVEN),
            ("acme/M:premium", Order.GIVEN),
            ("latency", Order.GIVEN),
            ("throughput", Order.GIVEN),
            (":latency", Order.LATENCY),
            ("a:latency:b", Order.GIVEN),
        ):
            self.check(text, Mode.DIRECT, (text,), order)

    def test_blanks_around_it_are_trimmed(self) -> None:
        """The six ASCII blanks around the text are no part of the name; others are."""
        for blank in " \t\r\n\v\f":
            text = f"{blank}acme/M{blank}"
            self.check(text, Mode.DIRECT, ("acme/M",), Order.GIVEN)
            self.check(f"{text}:latency{blank}", Mode.DIRECT, (f"acme/M{blank}:latency",), LATENCY)
        self.check(" acme/M\u00a0 ", Mode.DIRECT, ("acme/M\u00a0",), Order.GIVEN)

    def test_nothing_but_blanks_names_no_model(self) -> None:
        """An empty or blank text is a missing model."""
        for text in ("", " ", " \t\r\n\v\f"):
            message = self.check_refused(text, "missing_model")
            self.assertIn("names no model: set 'model' to a name", message)


class MissingModelTests(SynchronousTestCase):
    """The error of a request without a model."""

    WAYS = (
        "The request names no model: set 'model' to a name that GET /v1/models lists, to several"
        " names separated by commas or, to let the router choose, to an alias"
    )

    def test_with_an_alias(self) -> None:
        """The message names the ways to name a model, and the first alias as an example."""
        expected = RouterError(400, "missing_model", f"{self.WAYS} such as 'auto'.", param="model")
        self.assertEqual(missing_model(("beta", "auto", "zeta")), expected)

    def test_without_aliases(self) -> None:
        """Without an alias there is no example, which is also what an empty selector gets."""
        expected = RouterError(400, "missing_model", f"{self.WAYS}.", param="model")
        for found in (missing_model(), missing_model(()), _parse("")):
            self.assertEqual(found, expected)


class PatternTests(SynchronousTestCase):
    """Direct names that match a pattern."""

    def by_pattern(self, text: str, *patterns: str) -> bool:
        """Return whether the selector matches, which is a direct one."""
        parsed = parse_selector(text, ALIASES, 8, patterns_of(patterns))
        assert isinstance(parsed, Selector), parsed
        plain = parse_selector(text, ALIASES, 8)
        assert isinstance(plain, Selector) and not plain.by_pattern
        self.assertEqual(msgspec.structs.replace(parsed, by_pattern=False), plain)
        return parsed.by_pattern

    def test_any_of_them(self) -> None:
        """Any of the patterns will do, in any case, and blanks are no part of the name."""
        for text in ("gpt-4o", " GPT-4o\t", "Claude-Sonnet-4-5", "gpt-4o :latency", "gpt-"):
            self.assertTrue(self.by_pattern(text, "gpt-*", "CLAUDE-*"), text)
        for text in ("o3", "xgpt-4o", "acme/gpt-4o"):
            self.assertFalse(self.by_pattern(text, "gpt-*", "CLAUDE-*"), text)

    def test_without_the_order(self) -> None:
        """A pattern is matched without the order suffix, but with any other one."""
        self.assertTrue(self.by_pattern("gpt-mini:Latency", "*-mini"))
        self.assertFalse(self.by_pattern("gpt-mini:THINKING", "*-mini"))

    def test_names_alone(self) -> None:
        """Aliases and lists match nothing."""
        for text in ("auto", "auto:latency", "gpt-4o,gpt-5", "gpt-4o,"):
            self.assertFalse(self.by_pattern(text, "*"), text)

    def test_cached(self) -> None:
        """The cache knows the patterns, too."""
        cache = SelectorCache(ALIASES, 2, patterns_of(["gpt-*"]))
        for text in ("gpt-4o", "o3", "gpt-" + "x" * 300):
            for _ in range(2):
                parsed = cache[text]
                assert isinstance(parsed, Selector)
                self.assertEqual(parsed.by_pattern, text != "o3")

    def test_routes_first(self) -> None:
        """The name of a route is the route, whatever it matches."""
        parsed = parse_selector(
            "gpt-fast:latency", ALIASES, 8, patterns_of(["gpt-*"]), {"gpt-fast": False}
        )
        assert isinstance(parsed, Selector)
        self.assertEqual(
            (parsed.mode, parsed.names, parsed.by_pattern), (Mode.ROUTE, ("gpt-fast",), False)
        )

    def test_as_alias(self) -> None:
        """In its place stands the alias, with the same text and order, and with the alias's key."""
        for suffix, order in (("", Order.GIVEN), (":throughput", Order.THROUGHPUT)):
            direct, alias = _parse("gpt-4o" + suffix), _parse("auto" + suffix)
            assert isinstance(direct, Selector) and isinstance(alias, Selector)
            self.assertEqual(
                as_alias(direct), Selector("gpt-4o" + suffix, Mode.ALIAS, (), order, key=alias.key)
            )


class PrivateTests(SynchronousTestCase):
    """The alias of private mode, and routes that are private."""

    ROUTES: ClassVar = {"r": False, "s": True}

    def parsed(self, text: str) -> Selector:
        """Return a selector that is valid."""
        found = parse_selector(text, ALIASES, 8, (), self.ROUTES, frozenset({"s"}))
        assert isinstance(found, Selector), found
        cached = SelectorCache(ALIASES, 8, (), self.ROUTES, frozenset({"s"}))[text]
        self.assertEqual(cached, found)
        return found

    def test_alias(self) -> None:
        """It is an alias in any case, with a suffix and at the end of a list."""
        for text in (PRIVATE_ALIAS, f" {PRIVATE_ALIAS.upper()} :Latency"):
            found = self.parsed(text)
            self.assertEqual((found.mode, found.names, found.private), (Mode.ALIAS, (), True))
        found = self.parsed(f"a,{PRIVATE_ALIAS.lower()}:throughput")
        self.assertEqual((found.names, found.alias_last, found.private), (("a",), True, True))
        self.assertEqual(found.order, Order.THROUGHPUT)
        found = self.parsed(f"{PRIVATE_ALIAS},auto")
        self.assertEqual((found.misplaced, found.private), ((PRIVATE_ALIAS,), True))

    def test_whatever_is_meant(self) -> None:
        """A name with more or less than the alias asks for private mode all the same."""
        for text in (f"{PRIVATE_ALIAS}:THINKING", "AUTOPILOT-private", f"a,{PRIVATE_ALIAS}:x"):
            self.assertTrue(self.parsed(text).private, text)
        for text in ("a", "auto", "a,auto", "r", "chutesai/AutoPilot"):
            self.assertFalse(self.parsed(text).private, text)

    def test_routes(self) -> None:
        """A private route makes its list private."""
        for text, private in (("s", True), ("s:latency", True), ("a,s", True), ("r,a", False)):
            self.assertIs(self.parsed(text).private, private)
        alias = as_alias(self.parsed("autopilot-private"))
        self.assertEqual((alias.mode, alias.private), (Mode.ALIAS, True))

    def test_nothing_else_differs(self) -> None:
        """In all else a private selector is that of a plain request."""
        patterns = patterns_of(["*"])
        for text in ("s", "s:latency", "a,s", "r,s,auto", "S"):
            private, plain = (
                parse_selector(text, ALIASES, 8, patterns, self.ROUTES, private_routes)
                for private_routes in (frozenset({"s"}), frozenset[str]())
            )
            assert isinstance(private, Selector)
            assert isinstance(plain, Selector)
            self.assertFalse(plain.private)
            self.assertEqual(private, msgspec.structs.replace(plain, private=True), text)

    def test_slips_in_routes(self) -> None:
        """An unknown name that means a private route is private, wherever it leads."""
        for text in ("S", "s:THINKING", "s:THINKING:x", " S:x:Latency", "a, S", "S:x,a", "r,S"):
            self.assertTrue(self.parsed(text).private, text)
        for text in ("ss", "s/s", "x:s", "R:s", "r:x", "a,r"):
            self.assertFalse(self.parsed(text).private, text)
        routes = {"S": False, "s": True}
        exact = parse_selector("S", ALIASES, 8, (), routes, frozenset({"s"}))
        assert isinstance(exact, Selector)
        self.assertFalse(exact.private)
        alias = as_alias(self.parsed("S"))
        self.assertEqual((alias.mode, alias.private), (Mode.ALIAS, True))


class RouteTests(SynchronousTestCase):
    """Names of routes."""

    ROUTES: ClassVar = {"r": False, "acme/s": True}

    def parsed(self, text: str, max_items: int = 8) -> Selector:
        """Return the selector, parsed twice alike."""
        parsed = parse_selector(text, ALIASES, max_items, routes=self.ROUTES)
        assert isinstance(parsed, Selector), parsed
        self.assertEqual(SelectorCache(ALIASES, max_items, (), self.ROUTES)[text], parsed)
        return parsed

    def test_a_route(self) -> None:
        """The name alone, between blanks and before an order, is the route."""
        for text, name, order in (
            ("r", "r", Order.GIVEN),
            (" r\t", "r", Order.GIVEN),
            ("acme/s:latency", "acme/s", LATENCY),
            ("acme/s :Throughput ", "acme/s", Order.THROUGHPUT),
        ):
            parsed = self.parsed(text)
            self.assertEqual(
                parsed, selector_of(text, Mode.ROUTE, (name,), order, routes=self.ROUTES)
            )
            self.assertEqual((parsed.routes, parsed.chooses), ((name,), name == "acme/s"))

    def test_other_names(self) -> None:
        """In another case, or without routes, it is a model's name."""
        for text in ("R", "acme/S", "r:THINKING", "s"):
            parsed = self.parsed(text)
            self.assertEqual(parsed, _parse(text))
            self.assertEqual((parsed.mode, parsed.routes), (Mode.DIRECT, ()))
        plain = _parse("r")
        assert isinstance(plain, Selector)
        self.assertEqual((plain.mode, plain.routes, plain.chooses), (Mode.DIRECT, (), False))

    def test_in_a_list(self) -> None:
        """Items that are routes are known as such; each counts once, and as one."""
        for text, names, routes, chooses in (
            ("a,r", ("a", "r"), ("r",), False),
            ("acme/s,a,r,acme/s", ("acme/s", "a", "r"), ("acme/s", "r"), True),
            ("r,", ("r",), ("r",), False),
            ("r,auto", ("r",), ("r",), False),
            ("a,b", ("a", "b"), (), False),
        ):
            parsed = self.parsed(text, max_items=3)
            self.assertEqual((parsed.mode, parsed.names), (Mode.LIST, names))
            self.assertEqual((parsed.routes, parsed.chooses), (routes, chooses), text)
            self.assertEqual(parsed.alias_last, text == "r,auto")

    def test_keys(self) -> None:
        """A route, a list of it alone and the model of its name are different choices."""
        keys = [self.parsed(text).key for text in ("r", "r,", "r:latency", "acme/s", "a")]
        self.assertEqual(len(set(keys)), 5)
        self.assertEqual(self.parsed(" r").key, self.parsed("r").key)

    def test_a_pattern_too(self) -> None:
        """A route whose name matches a pattern is the route."""
        parsed = parse_selector("r", ALIASES, 8, patterns_of(["*"]), {"r": False})
        assert isinstance(parsed, Selector)
        self.assertEqual(parsed.mode, Mode.ROUTE)


class ListTests(SelectorTestCase):
    """Preference lists."""

    def test_items_keep_their_order(self) -> None:
        """Items keep the client's order."""
        self.check("b,a,c", Mode.LIST, ("b", "a", "c"), Order.GIVEN)

    def test_blanks_and_empty_items_are_dropped(self) -> None:
        """ASCII blanks around items, and empty items, are dropped."""
        self.check("XaX ,X", Mode.LIST, ("XaX", "X"), Order.GIVEN)
        self.check(" ,a , \t,\tb\n,,\r\v\f,", Mode.LIST, ("a", "b"), Order.GIVEN)
        self.check("a b, c", Mode.LIST, ("a b", "c"), Order.GIVEN)

    def test_unicode_blanks_are_part_of_a_name(self) -> None:
        """An item of a no-break space is a name, and a distinct one."""
        self.check("\u00a0,a,a\u2003", Mode.LIST, ("\u00a0", "a", "a\u2003"), Order.GIVEN)

    def test_one_item_is_a_list_still(self) -> None:
        """A text with a comma is a list, even with one item."""
        self.check("a,", Mode.LIST, ("a",), Order.GIVEN)

    def test_repeated_items_count_once(self) -> None:
        """Of equal items the first stays; case matters."""
        self.check("a,b,a , B,b", Mode.LIST, ("a", "b", "B"), Order.GIVEN)

    def test_the_suffix_is_that_of_the_whole_list(self) -> None:
        """A suffix counts at the very end only; elsewhere it is part of an item."""
        self.check("a,b:latency", Mode.LIST, ("a", "b"), Order.LATENCY)
        self.check("a,b : THROUGHPUT", Mode.LIST, ("a", "b : THROUGHPUT"), Order.GIVEN)
        self.check("a,b :THROUGHPUT ", Mode.LIST, ("a", "b"), Order.THROUGHPUT)
        self.check("a:latency,b", Mode.LIST, ("a:latency", "b"), Order.GIVEN)

    def test_the_alias_as_the_last_item(self) -> None:
        """An alias at the end, in any case, is no name but what the list ends with."""
        for text, names, order in (
            ("a,auto", ("a",), Order.GIVEN),
            ("a, b ,AUTO , ,", ("a", "b"), Order.GIVEN),
            ("a,ChutesAI/autopilot:latency", ("a",), Order.LATENCY),
            ("a,auto,Auto", ("a",), Order.GIVEN),
            ("auto,", (), Order.GIVEN),
        ):
            expected = selector_of(text, Mode.LIST, names, order, alias_last=True)
            self.assertEqual(_parse(text), expected)

    def test_the_alias_elsewhere(self) -> None:
        """An alias in front of another item is misplaced, even if it also stands at the end."""
        for text, names, misplaced, alias_last in (
            ("auto,a", ("auto", "a"), ("auto",), False),
            ("a,Auto,b", ("a", "Auto", "b"), ("Auto",), False),
            ("auto,a,AUTO", ("auto", "a"), ("auto",), False),
            ("auto,a,chutesai/AutoPilot", ("auto", "a"), ("auto",), True),
        ):
            expected = selector_of(text, Mode.LIST, names, Order.GIVEN, alias_last, misplaced)
            self.assertEqual(_parse(text), expected)

    def test_the_alias_counts_as_an_item(self) -> None:
        """The limit of items includes an alias at the end, in however many spellings."""
        self.assertIsInstance(_parse("a,auto,AUTO", max_items=2), Selector)
        self.check_refused("a,b,auto", "invalid_model_list", max_items=2)

    def test_an_alias_name_with_a_comma(self) -> None:
        """A text that equals an alias is not split at commas."""
        selector = parse_selector("a,b", frozenset({"a,b"}), 1)
        self.assertEqual(selector, selector_of("a,b", Mode.ALIAS, (), Order.GIVEN))

    def test_an_empty_list_is_refused(self) -> None:
        """Commas alone name no model."""
        for text in (",", " , ,\t", ",:latency"):
            message = self.check_refused(text, "invalid_model_list")
            self.assertEqual(message, "The list in 'model' names no model.")

    def test_the_limit_counts_different_items(self) -> None:
        """Exactly the limit of distinct items is accepted; one more is rejected."""
        accepted = _parse("a,b,a,b,a", max_items=2)
        self.assertEqual(accepted, selector_of("a,b,a,b,a", Mode.LIST, ("a", "b"), Order.GIVEN))
        message = self.check_refused("a,b,c", "invalid_model_list", max_items=2)
        self.assertEqual(message, "The list in 'model' names more than 2 different models.")

    def test_a_text_of_absurd_length_is_refused_unsplit(self) -> None:
        """A selector of more than 64 KiB, a list or not, is rejected without splitting it."""
        self.assertIsInstance(_parse("a," * 32768), Selector)
        message = self.check_refused("a," * 32768 + ",", "invalid_model")
        self.assertEqual(message, "The model selector is longer than 65536 bytes.")
        for text in ("a" * 65537, " " * 65537, "auto" + " " * 65533):
            self.check_refused(text, "invalid_model")
        self.assertIsInstance(_parse("auto" + " " * 65532), Selector)

    def test_length_in_bytes(self) -> None:
        """The limit counts bytes of UTF-8, those of half a surrogate pair included."""
        for character, size in (("a", 1), ("\u00e9", 2), ("\ud800", 3), ("\U0001f600", 4)):
            most = 65536 // size
            self.assertFalse(is_too_long(character * most), size)
            self.assertTrue(is_too_long(character * (most + 1)), size)


class KeyTests(SynchronousTestCase):
    """The digest that stands for a selector in the state tables."""

    def key(self, text: str) -> bytes:
        """Return the digest of a selector."""
        found = _parse(text)
        assert isinstance(found, Selector)
        return found.key

    def test_same(self) -> None:
        """Blanks, empty and repeated items, and the alias's spelling make no difference."""
        for one, other in (
            ("auto", " \t\r\n\v\fAUTO"),
            ("auto", "chutesai/AutoPilot"),
            ("auto:latency", "auto :LATENCY "),
            ("a,b", " a ,, b , a"),
            ("a,auto", "a,AUTO"),
            ("a,b:throughput", "a,b :throughput "),
        ):
            self.assertEqual(self.key(one), self.key(other), one)
            self.assertEqual(len(self.key(one)), 16)

    def test_different(self) -> None:
        """Names, their order and the suffix make a difference."""
        texts = (
            *("auto", "auto:latency", "auto:throughput", "a,", "a,b", "b,a", "A,b", "a,b:latency"),
            *("a,auto", "a,b,auto", "True,", "given,", "a:THINKING,b", "\ud800,", "\ud801,"),
        )
        self.assertEqual(len(set(map(self.key, texts))), len(texts))

    def test_direct(self) -> None:
        """Nothing sticks to a direct name."""
        self.assertEqual(self.key("a"), b"")


class SplitOrderTests(SynchronousTestCase):
    """Splitting the order suffix off."""

    def test_what_is_left(self) -> None:
        """The rest has no ASCII blanks around it, with or without a suffix."""
        self.assertEqual(split_order(" a:latency "), ("a", Order.LATENCY))
        self.assertEqual(split_order(" a:b "), ("a:b", Order.GIVEN))
        self.assertEqual(split_order("a\u00a0:latency"), ("a\u00a0", Order.LATENCY))
        self.assertEqual(split_order("given"), ("given", Order.GIVEN))
        self.assertEqual(split_order("a:given"), ("a:given", Order.GIVEN))
