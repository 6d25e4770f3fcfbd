"""Common clients, used with a router and the stub backend as processes."""

MARKS = ("sdk",)
