"""Deterministic costs of the router, measured and compared with `benchmarks/cost.toml`."""
