"""Attacks on the learning: pure functions over the updates of a round, poisoned data, and servers that misjudge."""
