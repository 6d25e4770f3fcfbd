"""The `curl` of this machine against real processes; skipped where there is none."""
