"""Tests of `autopilot.settings`."""
