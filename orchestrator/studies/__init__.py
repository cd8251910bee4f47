"""Several plans side by side: strategies, fronts, distributed search."""
