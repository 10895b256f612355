"""Setting up real networks: a genesis for own keys, and a whole network on one machine."""
