"""Properties of every input; Hypothesis searches for counterexamples."""

MARKS = ("untraced",)
