"""The planning problem as arrays: options, links, limits, and kinds of clients."""
