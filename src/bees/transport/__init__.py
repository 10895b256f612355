"""What nodes and devices share to talk over a network: request bodies, refusals, and a journal on disk."""
