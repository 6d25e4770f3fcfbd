"""Tests of `tools`."""

MARKS = ("around",)
