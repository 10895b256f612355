"""Searches over what the paper leaves open."""
