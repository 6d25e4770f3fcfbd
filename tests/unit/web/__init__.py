"""Tests of `autopilot.web`."""

MARKS = ("trial",)
