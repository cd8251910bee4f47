"""Many models on tiny accelerators: what such a scenario states, layer lists, and the catalogue of accelerators."""
