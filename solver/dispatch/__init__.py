"""Clients served by priority: who gets a shared resource when several wait, planned and searched."""
