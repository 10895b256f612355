"""The duties of an edge server and of a device: what to check, attest, publish and sign, and when.

No input or output: the trainer, the evaluator and the bytes are handed in, so that the simulator and real
processes run this same code.
"""
