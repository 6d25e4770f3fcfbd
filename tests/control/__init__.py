"""Tests of `autopilot.feeds`."""
