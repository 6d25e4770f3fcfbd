"""Tests of `autopilot.http`."""

MARKS = ("trial",)
