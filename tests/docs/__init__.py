"""The documentation is held to the code: what is made of it, and whether what it shows works."""

MARKS = ("untraced",)
