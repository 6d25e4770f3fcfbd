"""JavaScript clients with real processes (`make sdks`); skipped without npm."""
