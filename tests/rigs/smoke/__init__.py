"""The smoke run: the router and the stub backend as real processes, on real sockets.

`python -m tests.rigs.smoke` (or `make smoke`) runs every scenario, prints a table, and writes a
report and raw transcripts to `logs/smoke/`. The package does not import the router; it observes it
from outside.
"""
