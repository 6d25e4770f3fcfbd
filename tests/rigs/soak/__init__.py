"""The soak test: a router under mixed faults, with every response byte checked.

`python -m tests.rigs.soak` (or `make soak`) sends mixed traffic through a real router to an
upstream with every kind of fault, and reports to `logs/soak/`. A client chooses a nonce. A model's
response depends on nonce and model alone, so the judge knows what each response must be. The
package does not import the router; it observes it from outside.

`python -m tests.rigs.soak --hostile` compares the latency that the router adds for honest clients,
alone and beside hostile ones.
"""
