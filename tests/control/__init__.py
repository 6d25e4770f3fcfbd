"""Tests of `autopilot.control`."""
