"""The benchmark of `make bench`: the cost of a request and of an event, beside other proxies."""
