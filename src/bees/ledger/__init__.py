"""The chain world: transactions, rounds, election, state transition, Merkle state, proofs.

Pure: no clock, no randomness, no floats, no input or output. The same blocks give the same state everywhere.
"""
