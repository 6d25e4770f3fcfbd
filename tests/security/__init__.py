"""Attacks by a hostile client or upstream."""
