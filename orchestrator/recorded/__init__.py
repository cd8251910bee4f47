"""Plans for recorded links: several plans are replayed over windows of the recordings, and the best is taken."""
