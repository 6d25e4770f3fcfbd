"""Real faults with real sockets."""
