"""Check a plan in plain NumPy that shares nothing with the solver."""
