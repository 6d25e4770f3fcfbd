"""Tests of `autopilot.state.sharing`."""
