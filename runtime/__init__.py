"""Carry a plan out: split models, training modes, aggregation, executors, checkpoints and the network replay."""
