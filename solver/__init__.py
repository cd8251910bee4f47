"""Which choice, which share: plans with a lower bound beside them.

The solver sees only the option table and the scenario; it imports no deep-learning framework.
"""
