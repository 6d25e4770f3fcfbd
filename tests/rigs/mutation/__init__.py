"""Mutation testing of routing: each mutant changes one decision, and a test must fail."""
