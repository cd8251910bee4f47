"""``python -m hybridsplit`` is the ``hybridsplit`` command."""

from hybridsplit.orchestrator.start import main

main()
