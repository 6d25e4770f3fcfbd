"""Tests of the web layer: the channel, the tree and the pages."""
