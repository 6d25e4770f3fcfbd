"""Consistency of documentation and code: generated parts, and examples that work."""

MARKS = ("untraced",)
