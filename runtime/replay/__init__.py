"""Replay of the wireless network with SimPy: how long a plan's rounds take over constant or recorded links.

Imports the contracts and nothing of the planner, so that agreement between plan and replay proves something.
Recorded links are in :mod:`hybridsplit.runtime.replay.traces` and :mod:`hybridsplit.runtime.replay.trace_files`.
"""

from hybridsplit.runtime.replay.links import downlink_rate_bps, uplink_rate_bps
from hybridsplit.runtime.replay.playback import replay, scenario_of
from hybridsplit.runtime.replay.played import PlayedRound, Replay
from hybridsplit.runtime.replay.transfer import Transfer

__all__ = ["PlayedRound", "Replay", "Transfer", "downlink_rate_bps", "replay", "scenario_of", "uplink_rate_bps"]
