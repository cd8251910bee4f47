"""Rounds in time, from the ledger alone: who does what when, what is used, who waits for what, and what decides."""
