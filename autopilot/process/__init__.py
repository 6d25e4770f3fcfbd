"""What belongs to the operating system: reactor, allocator, limits, service manager."""
