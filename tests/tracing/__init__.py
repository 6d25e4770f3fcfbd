"""Traces: what spans say, whose they are, where they go; and that they cost nothing if off."""
