"""Plans that follow what finished rounds have shown: beliefs, the search for a plan, and policies that decide when."""
