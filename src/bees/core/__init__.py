"""What every other part stands on: errors, units, the fixed-point codec, hashes and keys. No JAX, no files."""
