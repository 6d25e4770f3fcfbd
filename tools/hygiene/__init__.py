"""What must not be in the repository: secrets, and files that a run leaves behind."""
