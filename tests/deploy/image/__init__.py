"""The image: reproducible, without privileges, and with clear errors if a build cannot work."""
