"""One edge server as two processes: CometBFT orders blocks, this package judges them and serves the devices."""
