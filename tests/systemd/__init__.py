"""Tests of ``autopilot.systemd``."""
