"""The smoke run: the router and the stand-in platform as real processes, on real sockets.

`python -m tests.rigs.smoke` (or `make smoke`) plays every scenario, prints a table, and leaves a
report and raw transcripts in `logs/smoke/`. Nothing here imports the router: it is looked at from
outside.
"""
