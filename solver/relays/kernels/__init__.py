"""The arithmetic of rounds in time, over flat vectors: as Python, or compiled by Numba, from the same source."""
