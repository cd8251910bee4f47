"""Whether the last blocks, with the loss, run on the client as well, so that labels never leave it."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from hybridsplit.scenarios.modes import MODES

MOST_HEAD_BLOCKS = 1_000_000
"""A limit against slips; a model's blocks are the limit in truth."""
NumHeadBlocks = Annotated[int, Field(ge=0, le=MOST_HEAD_BLOCKS)]
HeadBlocks = NumHeadBlocks | Annotated[tuple[NumHeadBlocks, ...], Field(min_length=1)]


def choices_of(head_blocks: HeadBlocks) -> tuple[int, ...]:
    """Return the numbers of head blocks on offer, smallest first.

    Parameters
    ----------
    head_blocks
        One number, or several that the planner chooses from.
    """
    return (head_blocks,) if isinstance(head_blocks, int) else tuple(sorted(head_blocks))


def head_blocks_of_mode(head_blocks: HeadBlocks, mode: str) -> tuple[int, ...]:
    """Return the numbers on offer for a client part trained by a mode, smallest first.

    Parameters
    ----------
    head_blocks
        What the scenario lists.
    mode
        A registered mode; one that cannot train with a head on the client has 0 alone, or nothing where 0 is not
        listed.
    """
    return tuple(h for h in choices_of(head_blocks) if h == 0 or (mode in MODES and MODES[mode].splits_in_three))


def three_part_faults(
    head_blocks: HeadBlocks,
    modes: Sequence[str],
    *,
    server_model: str,
    server_gradient: str,
    label_holder: str,
    staleness: Sequence[int],
    changes_plans: bool,
) -> Iterator[str]:
    """Yield what stands in the way of a split in three parts; nothing where none is listed.

    Parameters
    ----------
    head_blocks, modes, server_model, server_gradient, label_holder, staleness, changes_plans
        Of the training section.
    """
    choices = choices_of(head_blocks)
    if len(set(choices)) != len(choices):
        yield f"head_blocks: lists a number twice: {', '.join(map(str, choices))}"
    most = max(choices)
    if most == 0:
        return
    found, is_certain = f"head_blocks: found {most}", 0 not in choices
    able = [mode for mode in modes if MODES[mode].splits_in_three]
    unable = [mode for mode in modes if mode not in able]
    known = ", ".join(name for name, mode in MODES.items() if mode.splits_in_three)
    if not able:
        yield (
            f"{found} while modes lists {', '.join(modes)}, none of which trains with the head on the client; add one "
            f"of {known}, or use head_blocks: 0"
        )
    elif unable and is_certain:
        yield (
            f"{found} for every client while modes lists {', '.join(unable)}, which ask the server for more than one "
            f"gradient, or have a loss of their own; leave them out (of use are {known}), or list 0 too: head_blocks: "
            f"[0, {most}]"
        )
    if server_model != "per-client":
        yield (
            f"{found} with server_model {server_model!r}, where all clients meet at one server model in every step; "
            "use server_model: per-client, or head_blocks: 0"
        )
    if server_gradient != "exact":
        yield (
            f"{found} with server_gradient {server_gradient!r}, which estimates gradients from losses, and the server "
            "has no loss of its own then; use server_gradient: exact, or head_blocks: 0"
        )
    if label_holder == "server":
        yield (
            f"{found} with label_holder 'server': the loss is computed on the client, which needs the labels; use "
            "label_holder: client, or head_blocks: 0"
        )
    if max(staleness) > 0 and (is_certain or 0 not in staleness):
        yield (
            f"{found} with overlap.staleness {', '.join(map(str, staleness))}: steps with the head on the client wait "
            "for every gradient, and no option is left with both; use overlap.staleness: [0], or list 0 in both: "
            f"head_blocks: [0, {most}], overlap.staleness: [0, {max(staleness)}]"
        )
    if changes_plans:
        yield (
            f"{found} with a replanning policy that changes the plan, and what is kept of the head is not handed over "
            "between rounds; use replanning.policy: static, or head_blocks: 0"
        )
