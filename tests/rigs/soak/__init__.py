"""The soak: a router process on a bad day, and every byte of every answer accounted for.

`python -m tests.rigs.soak` (or `make soak`) runs mixed traffic through a real router to an
upstream that fails in every way it knows, and reports to `logs/soak/`. A client chooses a nonce;
what each model says to it follows from nonce and model alone, so that the judge can tell what every
single answer had to be. Nothing here imports the router: it is looked at from outside.
"""
