"""Real clients with real processes."""
