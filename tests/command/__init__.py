"""Tests of the ``autopilot`` command."""
