"""What each choice costs: memory and compute per block, bytes on air, expected progress."""
