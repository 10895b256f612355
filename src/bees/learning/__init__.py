"""The model world: datasets, partitions, models, local training and evaluation, in JAX on the CPU."""
