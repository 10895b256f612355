"""ABCI 2.0 over a socket: CometBFT's messages, their framing, and a server that answers them in order."""
