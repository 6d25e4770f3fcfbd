"""Tests that start the router as a process, on real sockets."""

MARKS = ("process",)
