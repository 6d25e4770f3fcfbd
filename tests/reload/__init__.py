"""Settings that change while the router runs."""
