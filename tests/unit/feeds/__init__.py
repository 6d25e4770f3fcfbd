"""Tests of `autopilot.feeds`."""

MARKS = ("trial",)
