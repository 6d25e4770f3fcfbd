"""Tests of `autopilot.attestation`."""
