"""BEES: federated learning on a shared ledger at the wireless edge."""
