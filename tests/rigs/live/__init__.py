"""The live check: what the platform does now, beside what the stand-in says it does.

`python -m tests.rigs.live` (or `make live`) makes a few dozen slow, tiny calls with the key in
`CHUTES_API_KEY`, plays each of them on the stand-in too, and leaves redacted captures and the
differences in `logs/live/`. Without a key it says what it would do and touches no network.
"""
