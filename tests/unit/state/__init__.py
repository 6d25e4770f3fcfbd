"""Tests of `autopilot.state`."""
