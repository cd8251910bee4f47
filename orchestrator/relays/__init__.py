"""Models that are cut several times: planned, replayed, compared and shown."""
