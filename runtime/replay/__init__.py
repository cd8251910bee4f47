"""Replay of the wireless network with SimPy: how long a plan's rounds take over constant or recorded links.

Imports the contracts and nothing of the planner, so that agreement between plan and replay proves something.
"""

from hybridsplit.runtime.replay.links import downlink_rate_bps, uplink_rate_bps
from hybridsplit.runtime.replay.playback import Replay, replay, scenario_of
from hybridsplit.runtime.replay.trace_files import assign_traces, load_trace, parse_trace, scenario_traces
from hybridsplit.runtime.replay.traces import BandwidthTrace, Transfer

__all__ = [
    "BandwidthTrace",
    "Replay",
    "Transfer",
    "assign_traces",
    "downlink_rate_bps",
    "load_trace",
    "parse_trace",
    "replay",
    "scenario_of",
    "scenario_traces",
    "uplink_rate_bps",
]
