"""Tools that check the project's own files."""
