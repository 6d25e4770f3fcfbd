"""Attestation evidence: fetched, read and judged."""
