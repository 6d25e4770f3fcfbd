"""What the router remembers between requests: affinity, circuit breaker, latency."""
