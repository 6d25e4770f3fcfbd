"""Tests of `autopilot.process.systemd`."""
