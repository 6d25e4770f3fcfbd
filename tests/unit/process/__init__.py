"""Tests of `autopilot.process`."""
