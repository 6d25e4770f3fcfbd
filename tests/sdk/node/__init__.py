"""JavaScript clients against real processes; `make node-clients`, or skipped without npm."""
