"""The documentation: what of it is made from the code, and whether what it shows works."""
