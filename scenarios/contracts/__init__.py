"""The values that travel between stages: modes, phases, option table, plan, ledger.

Each is frozen, typed, serialisable and carries a schema version. The stages know each other only through them.
"""
