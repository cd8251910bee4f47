"""The report: one self-contained HTML page that tells what was planned, replayed and measured."""

from orchestrator.report.data import ReportData
from orchestrator.report.render import render_report

__all__ = ["ReportData", "render_report"]
