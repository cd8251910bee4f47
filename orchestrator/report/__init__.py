"""The report: one self-contained HTML page with what was planned, replayed and measured."""

from hybridsplit.orchestrator.report.data import ReportData
from hybridsplit.orchestrator.report.render import render_report

__all__ = ["ReportData", "render_report"]
