"""Runs whose parts are computed on other devices than the CPU."""
