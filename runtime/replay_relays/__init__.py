"""Replay of plans over relays: machines and links as SimPy resources, with arithmetic of its own."""

from hybridsplit.runtime.replay_relays.processes import Interval, PlayedRelays, Spent, play_relays

__all__ = ["Interval", "PlayedRelays", "Spent", "play_relays"]
