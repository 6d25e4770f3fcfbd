"""The recipes in the documentation, with the clients they are for (`make sdks`)."""
