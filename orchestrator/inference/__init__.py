"""Inference tasks for the user: plan, compare, replay, report."""
