"""The clients people use, against a router and a stand-in for the platform as processes."""

MARKS = ("sdk",)
