"""The live check: compares the platform with the stub backend.

`python -m tests.rigs.live` (or `make live`) makes a few dozen slow, small calls with the key in
`CHUTES_API_KEY`, repeats each on the stub, and writes redacted captures and the differences to
`logs/live/`. Without a key it prints the planned calls and uses no network.
"""
