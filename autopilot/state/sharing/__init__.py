"""The exchange of state events between processes and between hosts."""
