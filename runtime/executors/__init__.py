"""Executors: the same training, in this process or on a Ray cluster, to the same bits."""
