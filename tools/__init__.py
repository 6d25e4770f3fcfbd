"""What builds, checks and packages the project."""
