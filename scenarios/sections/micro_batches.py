"""What stands in the way of batches that are trained in parts (``training.overlap.micro_batches``)."""

# Annotations are values here and not text (no __future__), as in the other sections.

from collections.abc import Iterator, Sequence

from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.sections.overlap import Overlap


def micro_batch_faults(
    overlap: Overlap,
    modes: Sequence[str],
    *,
    batch_sizes: Sequence[int],
    server_model: str,
    server_gradient: str,
    head_blocks: Sequence[int],
) -> Iterator[str]:
    """Yield what stands in the way of micro-batches; nothing where none are listed.

    Parameters
    ----------
    overlap
        The section.
    modes, batch_sizes, server_model, server_gradient, head_blocks
        Of the training section, with all numbers that are on offer.
    """
    most = overlap.most_micro_batches
    if most == 1:
        return
    found, listed = f"overlap.micro_batches: found {most}", ", ".join(map(str, overlap.micro_batches))
    for number in sorted(overlap.micro_batches):
        if undivided := [size for size in batch_sizes if size % number]:
            able = [n for n in range(2, min(batch_sizes) + 1) if all(size % n == 0 for size in batch_sizes)]
            fix = f"use some of 1, {', '.join(map(str, able[:8]))}" if able else "use micro_batches: [1]"
            yield (
                f"overlap.micro_batches: found {number} with batches of {undivided[0]} samples, which have no "
                f"{number} equal parts; {fix}, or another batch_size"
            )
    if not any(MODES[mode].divides_batches for mode in modes):
        able_modes = [name for name, mode in MODES.items() if mode.divides_batches]
        yield (
            f"{found} while modes lists {', '.join(modes)}, none of which adds up exact gradients of parts of a "
            f"batch; use micro_batches: [1], or add one of {', '.join(able_modes)}"
        )
    if server_model != "per-client":
        yield (
            f"{found} with server_model {server_model!r}, where all clients meet at one server model in every step; "
            "use server_model: per-client, or micro_batches: [1]"
        )
    if server_gradient != "exact":
        yield (
            f"{found} with server_gradient {server_gradient!r}, which sends no gradients that could be added; use "
            "server_gradient: exact, or micro_batches: [1]"
        )
    if overlap.most > 0 and (1 not in overlap.micro_batches or 0 not in overlap.staleness):
        yield (
            f"overlap.micro_batches: found {listed} with overlap.staleness {', '.join(map(str, overlap.staleness))}: "
            "batches are divided where every gradient is waited for, and no option is left with both; use "
            f"micro_batches: [1], or list 1 and 0 too: micro_batches: [1, {most}], staleness: [0, {overlap.most}]"
        )
    if max(head_blocks) > 0 and (1 not in overlap.micro_batches or 0 not in head_blocks):
        yield (
            f"overlap.micro_batches: found {listed} with head_blocks {', '.join(map(str, head_blocks))}: batches are "
            "divided where the head is at the server, and no option is left with both; use micro_batches: [1], or "
            f"list 1 and 0 too: micro_batches: [1, {most}], head_blocks: [0, {max(head_blocks)}]"
        )
