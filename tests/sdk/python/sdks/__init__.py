"""Python SDKs, unmodified except for their base URL (`make sdks`).

They import nothing of the router; router and platform are processes.
"""
