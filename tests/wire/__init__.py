"""Tests on real sockets, where the wire itself is the subject."""
