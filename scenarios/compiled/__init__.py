"""Functions over flat vectors, as Python or compiled by Numba from the same source."""
