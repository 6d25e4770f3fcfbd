"""Tests of `autopilot.observability`."""
