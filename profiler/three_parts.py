"""Options of a split in three parts: which exist, and what the head and the middle cost in a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from hybridsplit.profiler.profiles import BatchProfile, Choice
from hybridsplit.scenarios.contracts.three_part import NO_HEAD, HeadCosts
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.modes import MODES, Asks
from hybridsplit.scenarios.modes.passes import BlockSeconds
from hybridsplit.scenarios.schema import Training
from hybridsplit.scenarios.sections.three_part import head_blocks_of_mode

Peaks = Callable[[Sequence[int], str, int], Mapping[int, int]]
"""Peaks by cut, of cuts with a recompute order and a number of head blocks."""


def in_three_parts(
    peaks: Mapping[Choice, int], mode: str, training: Training, cuts: Sequence[int], trace: Peaks
) -> dict[Choice, int]:
    """Offer the choices of a mode with every number of head blocks that the scenario lists and the model has.

    At least one block is left in between, and the head begins behind a valid cut. With the whole model on the device
    there is no head apart.

    Parameters
    ----------
    peaks
        Client peaks of the choices so far, of all modes.
    mode, training
        The mode, and what the scenario lists.
    cuts
        Valid cuts, 1 to L.
    trace
        Traces client peaks of this mode.
    """
    num_blocks, offered = cuts[-1], head_blocks_of_mode(training.head_blocks, mode)
    of_mode = [choice for choice in peaks if choice.mode == mode and choice.cut < num_blocks]
    found = {choice: size for choice, size in peaks.items() if choice not in of_mode or 0 in offered}
    orders: dict[str, list[int]] = {}
    for choice in of_mode:
        if choice.staleness == 0:
            orders.setdefault(choice.recompute, []).append(choice.cut)
    for head_blocks in (number for number in offered if number > 0 and num_blocks - number in cuts):
        for recompute, its_cuts in orders.items():
            below = [cut for cut in its_cuts if cut < num_blocks - head_blocks]
            for cut, size in trace(below, recompute, head_blocks).items():
                found[Choice(cut, mode, recompute, head_blocks=head_blocks)] = size
    return found


def check_heads(choices: Iterable[Choice], training: Training, num_blocks: int) -> None:
    """Refuse numbers of head blocks that leave no option.

    Raises
    ------
    ScenarioError
        If the scenario lists some and no choice has any.
    """
    listed = [number for number in training.head_block_choices if number > 0]
    if listed and not any(choice.head_blocks for choice in choices):
        raise ScenarioError(
            f"training.head_blocks: found {', '.join(map(str, listed))}, and the model has {num_blocks} blocks, of "
            f"which one at least is on the client before the cut and one at the server: use at most {num_blocks - 2}"
            f"{', or give the model more blocks' if num_blocks < 4 else ''}"
        )


def head_step(
    choice: Choice, profile: BatchProfile, client: BlockSeconds, server: BlockSeconds, *, client_trains: bool
) -> tuple[HeadCosts, float]:
    """Return what the head adds to a step, and the seconds of the whole step at the whole server.

    Parameters
    ----------
    choice, profile
        The choice, and what it costs on no device in particular.
    client, server
        Passes on the client's device, and on the server.
    client_trains
        Whether the client part has trainable parameters.

    Notes
    -----
    The features' gradient goes up where something below the head learns from it: the middle, or the client part.
    """
    num_blocks, mode = profile.num_blocks, MODES[choice.mode]
    if choice.head_blocks == 0:
        return NO_HEAD, 0.0
    begin = num_blocks - choice.head_blocks
    wants_lambda = client_trains and mode.asks is Asks.GRADIENT
    is_asked = wants_lambda or profile.num_trainable_below(begin) > profile.num_trainable_below(choice.cut)
    features = profile.smashed_bytes[begin - 1]
    backward_s = server.exact_backward_s(choice.cut, begin, wants_input=wants_lambda) if is_asked else 0.0
    head_s = float(client.forward[begin:].sum()) + client.exact_backward_s(begin, num_blocks, wants_input=is_asked)
    costs = HeadCosts(head_s, features, features if is_asked else 0, backward_s)
    return costs, float(server.forward[choice.cut : begin].sum()) + backward_s


def head_exchanged_bytes(choice: Choice, profile: BatchProfile) -> int:
    """Return the bytes of the head that travel between rounds, each way.

    Parameters
    ----------
    choice, profile
        The choice, and what it costs on no device in particular.
    """
    begin = profile.num_blocks - choice.head_blocks
    return sum(cost.exchanged_bytes for cost in profile.costs[begin:])
