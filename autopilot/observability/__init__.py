"""Metrics, request records, traces and log formats; every other layer may import them."""
