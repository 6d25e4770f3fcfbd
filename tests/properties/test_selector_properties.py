"""Lists of models: parsing keeps order, removes repetitions and applies limits."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.router_error import RouterError
from autopilot.routing.selector import Mode, Order, Selector, parse_selector, selector_of

ALIASES = frozenset({"chutesai/AutoPilot", "auto"})
MANY = 1000

blanks = st.text(" \t\r\n\v\f", max_size=3)
odd_blanks = st.sampled_from(["\u00a0", "\u2003", "\u3000", "\u200b", "\x1c", "\x1f", "\x85"])
characters = st.one_of(st.sampled_from("abAB/-:. "), odd_blanks, st.characters())
texts = st.text(st.one_of(characters, st.just(",")), max_size=40)
# A name as parsed from a list: not empty, no comma, no surrounding ASCII blank.
names = (
    st.text(characters, min_size=1, max_size=8)
    .map(lambda text: text.replace(",", "").strip(" \t\r\n\v\f"))
    .filter(lambda text: text and not text.lower().endswith((":latency", ":throughput")))
    .filter(lambda text: text.lower() not in {"chutesai/autopilot", "auto"})
)
suffixes = st.sampled_from(
    [
        ("", Order.GIVEN),
        (":latency", Order.LATENCY),
        (":LATENCY", Order.LATENCY),
        (":Throughput", Order.THROUGHPUT),
        (" :throughput \n", Order.THROUGHPUT),
    ]
)
aliases = st.sampled_from(sorted(ALIASES)).flatmap(
    lambda alias: st.sampled_from([alias, alias.lower(), alias.upper(), alias.swapcase()])
)
quick = settings(deadline=None, max_examples=200)


def _first_of_each(items: list[str]) -> list[str]:
    """Return the first occurrences: an independent deduplication."""
    return [item for at, item in enumerate(items) if item not in items[:at]]


class ListProperties(SynchronousTestCase):
    """Parsing of lists."""

    @quick
    @given(st.lists(st.tuples(blanks, names, blanks), min_size=2, max_size=12), suffixes)
    def test_order_and_repeats(
        self, items: list[tuple[str, str, str]], suffix: tuple[str, Order]
    ) -> None:
        """Names keep their order, appear once, and lose surrounding ASCII blanks only."""
        text = ",".join(map("".join, items)) + suffix[0]
        expected = _first_of_each([name for _, name, _ in items])
        read = parse_selector(text, ALIASES, MANY)
        self.assertEqual(read, selector_of(text, Mode.LIST, tuple(expected), suffix[1]))

    @quick
    @given(st.lists(names, min_size=1, max_size=8), st.lists(st.integers(0, 8), max_size=8))
    def test_empty_items_change_nothing(self, items: list[str], places: list[int]) -> None:
        """Additional commas and blanks have no effect."""
        padded = list(items)
        for place in places:
            padded.insert(place, " \t"[: place % 3])
        read = parse_selector(",".join(padded) + ",", ALIASES, MANY)
        assert isinstance(read, Selector)
        self.assertEqual(list(read.names), _first_of_each(items))

    @quick
    @given(st.lists(names, min_size=2, max_size=8, unique=True))
    def test_reading_again_changes_nothing(self, items: list[str]) -> None:
        """A list made from parsed names is parsed to the same names."""
        read = parse_selector(",".join(items), ALIASES, MANY)
        assert isinstance(read, Selector)
        again = parse_selector(",".join(read.names), ALIASES, MANY)
        assert isinstance(again, Selector)
        self.assertEqual(again.names, read.names)
        self.assertEqual(len(set(read.names)), len(read.names))

    @quick
    @given(
        st.lists(names, min_size=1, max_size=10, unique=True),
        st.integers(1, 10),
        st.integers(1, 3),
    )
    def test_the_limit(self, items: list[str], limit: int, times: int) -> None:
        """The limit applies to different names; repetitions do not count."""
        read = parse_selector(",".join(items * times) + ",", ALIASES, limit)
        if len(items) <= limit:
            self.assertIsInstance(read, Selector)
        else:
            assert isinstance(read, RouterError)
            self.assertEqual((read.status, read.code), (400, "invalid_model_list"))

    @quick
    @given(odd_blanks, names)
    def test_unicode_blanks_are_not_blanks(self, blank: str, name: str) -> None:
        """Other blanks are part of a name, and a name on their own."""
        read = parse_selector(f"{name},{name}{blank},{blank},{blank}{name}", ALIASES, MANY)
        assert isinstance(read, Selector)
        expected = _first_of_each([name, f"{name}{blank}", blank, f"{blank}{name}"])
        self.assertEqual(list(read.names), expected)


class AnyTextProperties(SynchronousTestCase):
    """Parsing of arbitrary text."""

    @quick
    @given(texts, st.integers(1, 4))
    def test_any_text_is_read_or_refused(self, text: str, limit: int) -> None:
        """The result is a refusal, or has the form of its mode."""
        read = parse_selector(text, ALIASES, limit)
        if isinstance(read, RouterError):
            self.assertEqual((read.status, read.param), (400, "model"))
            self.assertIn(read.code, {"missing_model", "invalid_model_list"})
            return
        self.assertEqual(read.text, text)
        if read.mode is Mode.ALIAS:
            self.assertEqual(read.names, ())
        elif read.mode is Mode.DIRECT:
            self.assertEqual(read.names, (text.strip(" \t\r\n\v\f"),))
            self.assertNotIn(",", text)
        else:
            self.assertIn(",", text)
            self.assertTrue(1 <= len(read.names) + read.alias_last <= limit)
            self.assertLessEqual(set(read.misplaced), set(read.names))
            for name in read.names:
                self.assertTrue(name)
                self.assertEqual(name, name.strip(" \t\r\n\v\f"))
                self.assertIn(name, text)
                self.assertNotIn(",", name)

    @quick
    @given(blanks, aliases, blanks, suffixes)
    def test_the_alias_with_blanks_and_suffix(
        self, before: str, alias: str, after: str, suffix: tuple[str, Order]
    ) -> None:
        """ASCII blanks, another case and a suffix do not change the alias."""
        text = f"{before}{alias}{after}{suffix[0]}"
        read = parse_selector(text, ALIASES, 1)
        self.assertEqual(read, selector_of(text, Mode.ALIAS, (), suffix[1]))

    @quick
    @given(st.lists(st.one_of(names, aliases), min_size=1, max_size=6), blanks, suffixes)
    def test_the_alias_in_a_list(
        self, items: list[str], blank: str, suffix: tuple[str, Order]
    ) -> None:
        """Its first occurrence counts: as the last item it is valid, elsewhere it is misplaced."""
        text = f",{blank},".join(items) + "," + suffix[0]
        read = parse_selector(text, ALIASES, MANY)
        lowered = {each.lower() for each in ALIASES}
        keys = [each.lower() if each.lower() in lowered else each for each in items]
        kept = [each for at, each in enumerate(items) if keys[at] not in keys[:at]]
        last = kept[-1].lower() in lowered
        if last:
            kept.pop()
        misplaced = tuple(each for each in kept if each.lower() in lowered)
        expected = selector_of(text, Mode.LIST, tuple(kept), suffix[1], last, misplaced)
        self.assertEqual(read, expected)
