"""Tests of ``autopilot.observability``."""
