"""Where samples come from, which client has them, and who takes part in a round."""
