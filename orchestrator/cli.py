"""The ``hybridsplit`` command line with all its commands, as one Typer application."""

from __future__ import annotations

from hybridsplit.orchestrator.command_line import application, main

app = application()

__all__ = ["app", "main"]
