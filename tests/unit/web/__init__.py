"""Tests of `autopilot.web`."""
