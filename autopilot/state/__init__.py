"""Tables that the router keeps between requests: affinity, circuit breakers and latency."""
