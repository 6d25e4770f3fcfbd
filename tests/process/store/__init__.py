"""Routers that share state over a real Redis or Valkey server."""

MARKS = ("process",)
