"""One client's round, and the server part that answers it."""
