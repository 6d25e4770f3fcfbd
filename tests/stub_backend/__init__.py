"""Tests of the stub backend."""

MARKS = ("untraced",)
