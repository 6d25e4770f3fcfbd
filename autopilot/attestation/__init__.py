"""Attestation evidence of TEE models: fetching, parsing and judging it."""
