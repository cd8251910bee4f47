"""Names of the phases of a round, shared by planner, replay and run."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """What a client does, or waits for, during a round."""

    MODEL_DOWNLOAD = "model_download"
    """The client part's weights come down at the start of the round."""
    CLIENT_COMPUTE = "client_compute"
    """Forward passes, probes, backward and update on the device."""
    UPLINK = "uplink"
    """Smashed data, labels and scalars go up, every step."""
    SERVER_COMPUTE = "server_compute"
    """The server part's forward, backward and update for this client."""
    DOWNLINK = "downlink"
    """Gradients at the cut, or losses, come down, every step."""
    MODEL_UPLOAD = "model_upload"
    """The client part's update goes up at the end of the round."""
    PROPAGATION = "propagation"
    """What is sent is on its way: delays of links, which occupy no resource."""
    ABANDONED = "abandoned"
    """What was under way at the round's deadline and came to nothing: the round goes on without the client."""
    BARRIER = "barrier"
    """The client waits for the slowest one: at the end of the round, and between the steps of a shared server model."""


UPLINK_PHASES = (Phase.UPLINK, Phase.MODEL_UPLOAD)
DOWNLINK_PHASES = (Phase.DOWNLINK, Phase.MODEL_DOWNLOAD)
ROUND_ORDER = tuple(Phase)
OCCASIONAL_PHASES = (Phase.PROPAGATION, Phase.ABANDONED)
"""Phases that no ledger names where they take no time."""
