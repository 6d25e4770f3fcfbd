"""Tests of `autopilot.relay`."""

MARKS = ("trial",)
