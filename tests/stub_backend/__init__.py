"""Tests of the stub backend."""
