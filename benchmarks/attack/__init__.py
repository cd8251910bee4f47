"""Altered files, poisoned caches, killed processes and places that cannot be written: an attack on what is built."""
