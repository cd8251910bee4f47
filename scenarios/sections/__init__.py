"""Sections of a scenario: model and data, training, network. Their attribute docstrings are the JSON Schema's text."""
