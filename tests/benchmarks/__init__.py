"""Tests of the benchmarks."""

MARKS = ("untraced",)
