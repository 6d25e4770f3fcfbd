"""Tests of what a wheel holds."""
