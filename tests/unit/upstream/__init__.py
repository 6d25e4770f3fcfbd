"""Tests of `autopilot.upstream`."""

MARKS = ("trial",)
