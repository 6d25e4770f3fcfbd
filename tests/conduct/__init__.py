"""How the router conducts itself when a model misbehaves, in virtual time."""

MARKS = ("untraced",)
