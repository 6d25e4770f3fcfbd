"""The router's behaviour when a model misbehaves, in virtual time."""

MARKS = ("untraced",)
