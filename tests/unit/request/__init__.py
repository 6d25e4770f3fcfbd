"""Tests of `autopilot.request`."""
