"""``python -m hybridsplit`` is the ``hybridsplit`` command."""

from hybridsplit.orchestrator.cli import main

main()
