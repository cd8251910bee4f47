"""Strategies trained at several seeds: runs that are kept, what they come to, and files for a reader."""
