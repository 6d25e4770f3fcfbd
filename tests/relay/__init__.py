"""Tests of `autopilot.relay`."""
