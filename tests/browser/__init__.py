"""The status page in a real browser (`make browser`); skipped if there is none."""

MARKS = ("process",)
