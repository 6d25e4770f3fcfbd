"""The resource tree, and the HTTP server channel in front of it."""
