"""Tests of `autopilot.wiring`."""
