"""The interface to the operating system: reactor, allocator, limits and service manager."""
