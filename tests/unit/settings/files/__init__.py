"""Tests of the files of settings."""
