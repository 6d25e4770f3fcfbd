"""The status page: what the router knows and does, for people who look at it."""
