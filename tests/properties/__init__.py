"""Properties that hold for every input, searched for counterexamples with Hypothesis."""

MARKS = ("untraced",)
