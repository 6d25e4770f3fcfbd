"""Connections to the upstream, kept and opened per origin."""
