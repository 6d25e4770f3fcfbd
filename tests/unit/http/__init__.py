"""Tests of `autopilot.http`."""
