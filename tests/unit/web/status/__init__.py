"""Tests of `autopilot.web.status`."""
