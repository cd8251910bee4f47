"""The model in two parts, the link between them, and what both sides need to train."""
