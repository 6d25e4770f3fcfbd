"""Images without Docker: requirements, execution and comparison."""
