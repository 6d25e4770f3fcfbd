"""Consistency of the research pages with the code."""

MARKS = ("untraced",)
