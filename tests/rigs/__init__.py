"""Long runs with a command of their own: smoke, soak, hold, live, fuzz and mutation."""

MARKS = ("process",)
