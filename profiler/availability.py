"""Which options exist: some modes need a server part or labels, others something to train."""

from __future__ import annotations

from collections.abc import Sequence

from hybridsplit.profiler.costs import BlockCost
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.modes import MODES, is_estimated
from hybridsplit.scenarios.schema import Training


def existing_cuts(cuts: Sequence[int], costs: Sequence[BlockCost], training: Training) -> dict[str, list[int]]:
    """Return the cuts at which each mode exists.

    Parameters
    ----------
    cuts
        Valid cuts, 1 to L.
    costs
        Per block.
    training
        Modes, the lowest blocks that are trained along common directions, and who holds the labels.

    Raises
    ------
    ScenarioError
        If no option is left.
    """
    found = {mode: [cut for cut in cuts if _exists(mode, cut, costs, training)] for mode in training.modes}
    prefix, modes = training.zo_prefix_blocks, ", ".join(training.modes)
    all_cuts = {cut for its_cuts in found.values() for cut in its_cuts}
    if not all_cuts:
        raise ScenarioError(
            f"training.modes: {modes} exist at no cut of a model of {len(costs)} blocks whose labels are held by the "
            f"{training.label_holder}: allow more modes, or give the model more blocks"
        )
    if prefix > max(all_cuts):
        raise ScenarioError(
            f"training.zo_prefix_blocks: found {prefix}; the model has {len(costs)} blocks, and with the modes {modes} "
            f"its last cut is {max(all_cuts)}: lower zo_prefix_blocks to that, or below"
        )
    return {mode: [cut for cut in its_cuts if cut >= prefix] for mode, its_cuts in found.items()}


def _exists(mode: str, cut: int, costs: Sequence[BlockCost], training: Training) -> bool:
    if cut == len(costs) and (not MODES[mode].runs_whole_model or training.label_holder == "server"):
        return False
    if any(cost.num_trainable for cost in costs[:cut]):
        return True
    # With nothing to train below the cut every mode is one forward pass: the first exact one, or frozen, stands in. A
    # local loss would train its head for nobody there.
    stand_ins = [m for m in training.modes if not is_estimated(m) and not MODES[m].has_local_head]
    return mode in stand_ins[:1]
