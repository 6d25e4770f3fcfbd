"""What clients, upstream and operator trust the router with comes out nowhere."""
