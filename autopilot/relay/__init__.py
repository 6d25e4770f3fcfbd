"""The data plane: intake, attempts, commit and stream."""
