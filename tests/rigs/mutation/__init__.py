"""Mutation testing of pure code: each mutant changes one decision, and a test must fail."""
