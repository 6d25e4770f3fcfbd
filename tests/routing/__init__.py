"""Tests of the pure routing decisions, module by module."""
