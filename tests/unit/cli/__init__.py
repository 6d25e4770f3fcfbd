"""Tests of `autopilot.cli`."""
