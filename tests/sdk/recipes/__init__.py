"""The recipes of the documentation, with the clients they are for; `make sdks`."""
