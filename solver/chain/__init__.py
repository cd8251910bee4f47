"""Exact programmes for one model over a chain of machines, in plain arrays: which blocks run where, in what order."""
