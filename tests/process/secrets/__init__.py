"""Secrets of clients, upstream and operator do not leak from the router."""
