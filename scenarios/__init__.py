"""What is to be solved: the scenario schema, units, devices and the built-in scenarios."""
