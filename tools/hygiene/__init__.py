"""Checks for secrets and for generated files in the repository."""
