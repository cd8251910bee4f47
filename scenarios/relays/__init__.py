"""Scenarios whose model is cut several times, over the machines of a network of relays."""
