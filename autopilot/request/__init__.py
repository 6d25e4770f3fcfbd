"""A client's request body, parsed once."""
