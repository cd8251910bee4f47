"""What the planner minimises."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hybridsplit.scenarios.sections.base import PositiveFloat
from hybridsplit.scenarios.sections.pilot import PilotConstants
from hybridsplit.scenarios.sections.target import TARGETS, Target

Statistic = Literal["mean", "p50", "p95"]
"""Of the objective over rounds: the mean, the median, or what 95 of 100 rounds do not exceed."""


AGREEING = ("minimise", "late", "links", "target_accuracy", "target_score")
"""Keys of it that other sections have to agree with."""


class Objective(Target):
    """What the planner minimises."""

    minimise: Literal["time-to-progress", "time-to-target", "round-latency", "energy"] = "time-to-progress"
    """``time-to-progress``: round latency divided by expected progress; ``time-to-target``: seconds to a test accuracy,
    score or training loss, by constants that pilot runs gave; ``round-latency`` and ``energy`` (joules of all clients
    in a round) need ``minimum_progress`` to be meaningful where modes differ."""
    pilot_file: str | None = None
    """File that ``hybridsplit pilot`` wrote, relative to this file; it is read into ``pilot``."""
    pilot: PilotConstants | None = None
    """Constants of the rounds to the target; stated by hand, or read from ``pilot_file``."""
    minimum_progress: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Least expected progress a round may have; 1 is exact gradients everywhere."""
    coverage: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Least share of the data on which every trainable block is trained by exact gradients. The server part always is,
    so what counts is the share of the clients whose own part is trained exactly, or has nothing to train."""
    energy_cap_j: PositiveFloat | None = None
    """Most energy that all clients together may spend in a round, joules; no limit when absent."""
    links: Literal["nominal", "recorded"] = "nominal"
    """What ``optimal`` is chosen for: constant links, or rounds over windows of the links' recordings, which it then
    needs (``clients[].link.trace``, or ``plan --traces``)."""
    statistic: Statistic = "p50"
    """With ``links: recorded``, what is made small over the rounds: ``mean``, ``p50`` or ``p95``."""
    windows: Annotated[int, Field(ge=2, le=10_000)] = 40
    """With ``links: recorded``, the rounds that plans are chosen by; as many others judge the choice."""
    late: Literal["wait", "skip"] = "wait"
    """Whether a round waits for its last client, or ends at a deadline without those who are late: their round does not
    count, and they begin the next one with all others. Needs clients that meet at the end of a round only."""
    deadline_s: PositiveFloat | None = None
    """With ``late: skip``, seconds from a round's start to its deadline. When absent, the deadline of the most progress
    a second over the recordings at which enough of the data is seen; twice the planned round where there are none."""
    least_data_seen: Annotated[float, Field(ge=0, le=1)] = 0.5
    """With ``late: skip``, the share of the data that has to be in time, mean over rounds, at a deadline that is chosen
    over recordings."""
    gradient_split: Literal["measured", "assumed"] = "assumed"
    """How the squared gradient norm divides over blocks: ``measured`` on a few batches of the data with the starting
    weights, or ``assumed`` proportional to trainable parameters (and labelled so)."""
    gradient_noise_scale: PositiveFloat | None = None
    """Batch size at which noise and gradient weigh the same (arXiv 1812.06162): a step with B samples is worth
    1 / (1 + scale / B). It matters only where ``training.batch_sizes`` offers a choice; ``training.batch_size`` is
    assumed when absent."""

    @model_validator(mode="after")
    def _seconds_for_recorded_links(self) -> Self:
        if self.links == "recorded" and self.minimise == "energy":
            raise ValueError(
                "links: recorded chooses by the seconds of rounds, and energy is minimised; leave the key out, or "
                "minimise time-to-progress or round-latency"
            )
        return self

    @model_validator(mode="after")
    def _a_deadline_is_for_the_late(self) -> Self:
        if self.deadline_s is not None and self.late == "wait":
            raise ValueError(
                "deadline_s: found one with late: wait, which waits for everybody; set late: skip, or remove it"
            )
        return self

    @model_validator(mode="after")
    def _pilots_are_for_the_target(self) -> Self:
        if self.minimise == "time-to-target" and self.pilot is None:
            raise ValueError(
                "minimise: found 'time-to-target' without the constants of pilot runs; make them with 'hybridsplit "
                "pilot SCENARIO --out FILE' and name the file under objective.pilot_file"
            )
        if self.pilot is None:
            return self
        for name in self.stated_targets:
            wanted, made_for = getattr(self, name), getattr(self.pilot, name)
            if wanted != made_for:
                given = " ".join(f"{one} {value}" for one in TARGETS if (value := getattr(self.pilot, one)) is not None)
                raise ValueError(
                    f"{name}: found {wanted:g} with pilots that were made for {given}; run 'hybridsplit pilot' for "
                    "this target, or remove the key"
                )
        return self
