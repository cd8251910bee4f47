"""The search over options: joint, exact, rounded, exchanged."""
