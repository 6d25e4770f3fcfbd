"""HTTP building blocks shared by both sides of the router: parsers, checks, errors, timers, TLS."""
