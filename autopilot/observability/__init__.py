"""Metrics, request records, log formats: imported by anyone, importing nothing of the project."""
