"""Seeded histories: a chain of many servers on a network that fails, liars among them, checked at every step."""
