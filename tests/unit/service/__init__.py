"""Tests of `autopilot.service`."""
