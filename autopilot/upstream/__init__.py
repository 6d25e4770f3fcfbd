"""Upstream connections and their pool, keyed by origin."""
