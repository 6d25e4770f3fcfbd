"""Python SDKs, unchanged but for their base URL; `make sdks` runs these.

They import nothing of the router: it is a process, and so is the platform behind it.
"""
