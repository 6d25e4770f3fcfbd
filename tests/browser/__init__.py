"""The status page in a real browser; `make browser`, or skipped where there is none."""

MARKS = ("process",)
