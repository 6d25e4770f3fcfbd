"""What the research pages say, held to the code."""

MARKS = ("untraced",)
