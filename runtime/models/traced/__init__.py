"""Blocks and cuts of any transformers model, found in the graph of its traced forward pass."""
