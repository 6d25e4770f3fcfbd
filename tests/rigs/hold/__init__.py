"""The hold suite: no input holds the router's reactor for long, or costs much memory.

`python -m tests.rigs.hold` (or `make hold`) plays hostile inputs of clients, upstreams and feeds
against a router process on one core, while a client on another core requests `/healthz` again and
again. It judges the longest response time and the growth of the process's memory, and reports to
`logs/hold/`. The inputs are data, in `families/`. Of the router only `embedded` imports anything;
everything else observes it from outside.
"""
