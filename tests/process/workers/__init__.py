"""Routers with workers, as processes on real sockets."""
