"""Tests of `autopilot.routing`."""
