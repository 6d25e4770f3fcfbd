"""What both sides of the wire share: headers, parsers, checks, error bodies, timers, TLS."""
