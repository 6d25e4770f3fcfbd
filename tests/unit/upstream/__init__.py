"""Tests of `autopilot.upstream`."""
