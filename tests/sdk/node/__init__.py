"""JavaScript clients against real processes; `make sdks`, or skipped without npm."""
