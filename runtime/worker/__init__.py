"""What one worker process does: groups of clients, servers they share, and faults."""
