"""The instance's side of end-to-end encrypted calls, which is written apart from the router's."""
