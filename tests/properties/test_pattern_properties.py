"""Patterns of names agree with the shell's, of which they have only the star."""

from __future__ import annotations

from fnmatch import fnmatchcase

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.patterns import NamePattern

quick = settings(deadline=None, max_examples=500)
# Few letters, so that many names match.
names = st.text("ab-", max_size=12)
patterns = st.text("ab-*", max_size=8)


class PatternProperties(SynchronousTestCase):
    """Any pattern with any name."""

    @quick
    @given(patterns, names)
    def test_as_in_a_shell(self, pattern: str, name: str) -> None:
        """A name matches if and only if the whole of it does in a shell, in lower case."""
        self.assertEqual(NamePattern.of(pattern).matches(name), fnmatchcase(name, pattern))
        self.assertEqual(NamePattern.of(pattern.upper()).matches(name), fnmatchcase(name, pattern))

    @quick
    @given(st.lists(names, min_size=1, max_size=5), st.lists(names, min_size=6, max_size=6))
    def test_made_to_match(self, pieces: list[str], filled: list[str]) -> None:
        """A name made from a pattern by filling in its stars matches it."""
        name = "".join(piece + filling for piece, filling in zip(pieces, filled, strict=False))
        self.assertTrue(NamePattern.of("*".join([*pieces, ""])).matches(name))
