"""Tests of `autopilot.service`."""

MARKS = ("trial",)
