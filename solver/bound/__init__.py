"""Lower bounds: the dual, at one deadline and over all."""
