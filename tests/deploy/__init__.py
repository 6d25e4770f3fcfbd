"""What is under ``deploy``, the compose file, and the promises made to service managers."""

MARKS = ("process",)
