"""What clients return becomes one model: weighted means, replayed scalars, and how far to trust them."""
