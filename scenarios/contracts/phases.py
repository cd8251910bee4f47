"""Names of the phases of a round, shared by planner, replay and run."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """What a client does, or waits for, during a round."""

    MOVED_UP = "moved_up"
    """Before a round under a new plan: what the server takes over of blocks that leave the client goes up."""
    MOVED_DOWN = "moved_down"
    """Before a round under a new plan: what the client takes over of blocks that come to it goes down; all others wait
    until everything has moved."""
    MODEL_DOWNLOAD = "model_download"
    """The client part's weights come down at the start of the round."""
    CLIENT_COMPUTE = "client_compute"
    """Forward passes, probes, backward and update on the device."""
    MEMORY = "memory"
    """The client waits until there is memory for a step, or for the rest of one."""
    UPLINK = "uplink"
    """Smashed data, labels and scalars go up, every step."""
    SERVER_COMPUTE = "server_compute"
    """The server part's forward, backward and update for this client; the forward pass alone where the head is on the
    client."""
    HEAD_DOWNLINK = "head_downlink"
    """With the head on the client: the features that its head begins with come down, every step."""
    HEAD_COMPUTE = "head_compute"
    """With the head on the client: forward, loss, backward and update of the head on the device."""
    HEAD_UPLINK = "head_uplink"
    """With the head on the client: the gradient of the features goes up, every step."""
    SERVER_BACKWARD = "server_backward"
    """With the head on the client: backward and update of the server part."""
    DOWNLINK = "downlink"
    """Gradients at the cut, or losses, come down, every step."""
    MODEL_UPLOAD = "model_upload"
    """The client part's update goes up at the end of the round."""
    PROPAGATION = "propagation"
    """What is sent is on its way: delays of links, which occupy no resource."""
    OVERLAPPED = "overlapped"
    """What of the other phases went on at the same time as others, where a client does not wait for its gradients: the
    seconds by which the sum of them all is longer than the time that passed."""
    ABANDONED = "abandoned"
    """What was under way when the client left the round, at its deadline or for want of memory, and came to nothing."""
    BARRIER = "barrier"
    """The client waits for the slowest one: at the end of the round, and between the steps of a shared server model."""


UPLINK_PHASES = (Phase.UPLINK, Phase.HEAD_UPLINK, Phase.MODEL_UPLOAD)
DOWNLINK_PHASES = (Phase.DOWNLINK, Phase.HEAD_DOWNLINK, Phase.MODEL_DOWNLOAD)
SERVER_PHASES = (Phase.SERVER_COMPUTE, Phase.SERVER_BACKWARD)
HEAD_PHASES = (Phase.HEAD_DOWNLINK, Phase.HEAD_COMPUTE, Phase.HEAD_UPLINK, Phase.SERVER_BACKWARD)
"""What a step has besides where the head is on the client, in order."""
MOVING_PHASES = (Phase.MOVED_UP, Phase.MOVED_DOWN)
"""What happens between two plans, before the first round under the new one."""
ROUND_ORDER = tuple(Phase)
OCCASIONAL_PHASES = (
    *MOVING_PHASES, Phase.MEMORY, *HEAD_PHASES, Phase.PROPAGATION, Phase.OVERLAPPED, Phase.ABANDONED
)  # fmt: skip
"""Phases that no ledger names where they take no time."""


def elapsed_s(phase: str, seconds: float, waiting_s: float) -> float:
    """Return what a phase adds to the time that passes: what was overlapped is in the other phases too, and counts off.

    Parameters
    ----------
    phase, seconds, waiting_s
        Of a ledger's entry, or of a plan.
    """
    return waiting_s - seconds if phase == Phase.OVERLAPPED else seconds + waiting_s
