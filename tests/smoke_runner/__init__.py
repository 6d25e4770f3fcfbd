"""Tests of the smoke run itself, without its processes."""
