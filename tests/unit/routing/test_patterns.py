"""Tests of patterns of model names."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.patterns import NamePattern, exact_names, patterns_of


class _Watched(str):
    """A name that counts how often it is searched."""

    searches: int

    def __new__(cls, text: str) -> _Watched:
        """Make a name that has not been searched."""
        made = super().__new__(cls, text)
        made.searches = 0
        return made

    def find(self, *arguments: Any) -> int:
        """Count the search."""
        self.searches += 1
        return super().find(*arguments)


def _matching(pattern: str, *names: str) -> list[str]:
    return [name for name in names if NamePattern.of(pattern).matches(name)]


class PatternTests(SynchronousTestCase):
    """Which names match."""

    def test_a_prefix(self) -> None:
        """A star at the end stands for any text, the empty one too."""
        names = ("gpt-4o", "gpt-", "gpt", "xgpt-4o", "claude", "")
        self.assertEqual(_matching("gpt-*", *names), ["gpt-4o", "gpt-"])

    def test_a_suffix(self) -> None:
        """So does a star at the beginning."""
        names = ("a-tee", "-tee", "tee", "a-tee-b")
        self.assertEqual(_matching("*-tee", *names), ["a-tee", "-tee"])

    def test_both_ends(self) -> None:
        """The two ends do not overlap."""
        self.assertEqual(_matching("ab*ba", "abba", "abxba", "aba", "ab", "ba"), ["abba", "abxba"])
        self.assertEqual(_matching("a*a", "a", "aa"), ["aa"])

    def test_everything(self) -> None:
        """A star alone, or several of them, match every name."""
        for pattern in ("*", "**", "***"):
            self.assertEqual(_matching(pattern, "", "a", "a/b"), ["", "a", "a/b"])

    def test_between(self) -> None:
        """Pieces between stars follow one another, and end before the last one begins."""
        names = ("a-x-y-b", "a-y-x-b", "axyb", "ayb", "axb", "axy", "axxyyb", "axyby", "a-x-yb")
        self.assertEqual(_matching("a*x*y*b", *names), ["a-x-y-b", "axyb", "axxyyb", "a-x-yb"])
        self.assertEqual(_matching("a*bc*cd", "abccd", "abcd", "abcxcd"), ["abccd", "abcxcd"])
        self.assertEqual(_matching("ab*bc*d", "abbcd", "abcd"), ["abbcd"])

    def test_between_two_stars(self) -> None:
        """A piece between stars may stand anywhere, at either end too."""
        names = ("mid", "mid-b", "a-mid", "a-mid-b", "mi", "m-id")
        self.assertEqual(_matching("*mid*", *names), ["mid", "mid-b", "a-mid", "a-mid-b"])

    def test_between_apart(self) -> None:
        """Two pieces between stars do not overlap."""
        self.assertEqual(_matching("*ab*bc*", "abc", "abbc", "xab-bcx"), ["abbc", "xab-bcx"])

    def test_without_a_star(self) -> None:
        """A text without a star is matched by itself alone."""
        self.assertEqual(NamePattern.of("A"), NamePattern("a", (), None))
        self.assertEqual(_matching("a", "a", "aa", "", "b"), ["a"])

    def test_case(self) -> None:
        """The case of the pattern does not matter; names come in lower case."""
        self.assertEqual(_matching("GPT-*Mini", "gpt-4o-mini"), ["gpt-4o-mini"])

    def test_nothing_else_is_special(self) -> None:
        """What is special in other kinds of pattern is itself."""
        names = ("a?x", "abx", "a[b]x", "a.x", "a\\x")
        for pattern, matching in (
            ("a?*", ["a?x"]),
            ("a[b]*", ["a[b]x"]),
            ("a.*", ["a.x"]),
            ("a\\*", ["a\\x"]),
        ):
            self.assertEqual(_matching(pattern, *names), matching, pattern)

    def test_one_pass(self) -> None:
        """A hostile name is searched once for each piece at most, from where the last one ended."""
        pattern = NamePattern.of("a*aab*aab*aab*z")
        for text in ("a" * 65535 + "z", "aab" * 21845 + "z", "aab" * 2 + "a" * 65000 + "z"):
            name = _Watched(text)
            pattern.matches(name)
            self.assertLessEqual(name.searches, 3)


class AliasesTests(SynchronousTestCase):
    """The items of ``ALIASES``."""

    def test_apart(self) -> None:
        """The star tells patterns from names; both keep their order."""
        aliases = ("b", "gpt-*", "a", "*")
        self.assertEqual(exact_names(aliases), ("b", "a"))
        self.assertEqual(patterns_of(aliases), (NamePattern.of("gpt-*"), NamePattern.of("*")))
