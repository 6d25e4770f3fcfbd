"""The life cycle of a router in a Twisted application, and its signals."""
