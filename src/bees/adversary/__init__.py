"""Attacks: on the learning, and on the messages of the protocol."""
