"""The interface to the service manager: sockets that it passes, and state notifications to it."""
