"""What a pilot study costs and taught, in lines for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hybridsplit.scenarios.sections.pilot import CONSTANTS, MOST_HELD_OUT_ERROR
from hybridsplit.scenarios.units import format_seconds

if TYPE_CHECKING:
    from hybridsplit.orchestrator.studies.pilot import Design, PilotStudy

_WORDS = {
    "batch_noise": "noise of batches",
    "untrained_clients": "clients that do not train their part exactly",
    "untrained_blocks": "blocks that no client trains exactly",
    "estimate_noise": "noise of zeroth-order estimates",
    "drift": "clients drifting apart",
    "untrained_noise": "noise of batches above such blocks",
    "untrained_skew": "labels missing behind blocks that few clients train",
}


def cost_line(design: Design) -> str:
    """Return what the pilots cost at most, and whether that is worth it.

    Parameters
    ----------
    design
        What is about to be run.
    """
    share = f"{design.of_run:.1%} of" if design.of_run < 1 else f"{design.of_run:.1f} times"
    at_seeds = f" at {len(design.seeds)} seeds" if len(design.seeds) > 1 else ""
    line = (
        f"{len(design.pilots)} pilots{at_seeds} of at most {design.num_rounds} rounds: up to "
        f"{format_seconds(design.seconds)} of simulated time, {share} the run that they plan"
    )
    if design.is_worth_it:
        return line
    return (
        f"{line}: more than a tenth, so they pay only for a plan that is run several times; lower --rounds or --pilots"
    )


def study_lines(study: PilotStudy) -> list[str]:
    """Return what the pilots taught.

    Parameters
    ----------
    study
        The study.
    """
    constants = study.constants
    lines = []
    for run in study.runs:
        rounds = run["rounds_to_target"]
        reached = f"target not reached in {len(run['curve'])} rounds" if rounds is None else f"{rounds:.1f} rounds"
        seed = f", seed {run['seed']}" if constants.num_seeds > 1 else ""
        lines.append(f"pilot {run['pilot'] + 1:>2}{seed}: {reached}{', a check' if run['is_check'] else ''}")
    lines.append(f"with nothing in the way: {constants.rounds:.2f} rounds; what adds to them, at most in these pilots:")
    for name in CONSTANTS:
        most = max(run["terms"][name] for run in study.runs) * getattr(constants, name)
        taken = "not identified" if name in constants.not_identified else f"{most * constants.rounds:.1f} rounds"
        lines.append(f"  {_WORDS[name]:<51} {taken}")
    error = constants.held_out_error
    if error is None or not math.isfinite(error):
        lines.append("held-out error: unknown, so that expected progress stands in for the constants")
    else:
        verdict = (
            "" if constants.is_usable else f", above {MOST_HELD_OUT_ERROR:.0%}: expected progress stands in for them"
        )
        lines.append(
            f"held-out error of the rounds (median over the checks, left out of the fit): {error:.0%}{verdict}"
        )
    return lines
