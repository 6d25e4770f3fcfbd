"""Real faults on real sockets."""
