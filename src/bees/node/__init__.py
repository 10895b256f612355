"""``bees node``: one edge server as a process, on CometBFT: duties, blob plane, device API, metrics."""
