"""Long runs with a command of their own: smoke, soak, live, fuzz and mutation."""

MARKS = ("process",)
