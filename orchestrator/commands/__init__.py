"""The commands of ``hybridsplit``, a file for each thing a user sets out to do."""
