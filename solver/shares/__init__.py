"""Shares of uplink, downlink and server at fixed options."""
