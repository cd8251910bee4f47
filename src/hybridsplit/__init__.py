"""Plan and run hybrid-order split learning over heterogeneous edge devices."""
