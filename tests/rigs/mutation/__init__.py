"""Mutation testing of routing: each decision is changed, and some test must notice."""
