"""The demo of `autopilot demo` and `make demo`: stub and router as processes, used over HTTP.

It needs the standard library only, and imports nothing of the router.
"""
