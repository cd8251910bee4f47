"""Memory against recompute work: the planner's levels beside the usual ways to checkpoint a chain.

    python benchmarks/recompute_curve.py [SCENARIO] [--cut N]

Peaks are of the whole client part, work is forward work against one plain forward. The usual ways: one kept input per
block, and segments of about the square root of the number of blocks, each run again with all its graphs (Chen et al.,
arXiv 1604.06174). The last column is the peak of the planner's cheapest order in no more memory.
"""

from __future__ import annotations

import argparse
import math

from hybridsplit.profiler.compute import block_costs
from hybridsplit.profiler.memory import chain_memory
from hybridsplit.profiler.memory.levels import recompute_levels
from hybridsplit.profiler.memory.recompute import RecomputePlanner
from hybridsplit.profiler.memory.recompute_peaks import recompute_peak_bytes
from hybridsplit.profiler.models import traced_model
from hybridsplit.scenarios.contracts.recompute import (
    Action,
    RecomputeOrder,
    RecomputeStep,
    most_kept_inputs,
    num_forwards,
    one_input_per_block,
    parse_order,
)
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.units import format_bytes


def segments(cut: int, first: int, length: int) -> RecomputeOrder:
    """Keep one input a segment; run each segment again with all graphs."""
    starts = list(range(first, cut + 1, length))
    steps = [RecomputeStep(Action.ADVANCE, i) for i in range(1, first)]
    steps += [RecomputeStep(Action.KEEP if i in starts else Action.ADVANCE, i) for i in range(first, cut + 1)]
    for start in reversed(starts):
        stop = min(start + length, cut + 1)
        steps += [RecomputeStep(Action.GRAPH, i) for i in range(start, stop)]
        steps += [RecomputeStep(Action.BACKWARD, i) for i in range(stop - 1, start - 1, -1)]
    return tuple(steps)


def main() -> None:
    """Print both curves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenario", nargs="?", default="campus")
    parser.add_argument("--cut", type=int)
    arguments = parser.parse_args()
    scenario = load_scenario(arguments.scenario)
    traced = traced_model(scenario)
    chain = chain_memory(traced, scenario)
    work = [cost.forward.total_flops for cost in block_costs(traced, scenario)]
    cut = arguments.cut or len(chain.blocks) - 1
    first, steps = chain.first_trained(cut), scenario.training.local_steps
    planner = RecomputePlanner(chain, work)
    plain = sum(work[:cut])

    def line(name: str, order: RecomputeOrder) -> int:
        peak_bytes = recompute_peak_bytes(chain, cut, order, steps)
        done = sum(work[i - 1] * count for i, count in num_forwards(order).items()) / plain
        print(f"{name:34} {format_bytes(peak_bytes):>12} {done:>9.3f} {most_kept_inputs(order):>7}")
        return peak_bytes

    print(f"{arguments.scenario}, cut {cut}; parameters, batch and state: {format_bytes(chain.standing_bytes(cut))}")
    print(f"{'':34} {'peak':>12} {'forwards':>9} {'inputs':>7}")
    for level in recompute_levels(chain, planner, work, cut, steps):
        line("planned level", parse_order(level.recompute))
    for name, order in (
        ("one input per block", one_input_per_block(cut, first)),
        ("segments of the square root", segments(cut, first, max(1, round(math.sqrt(cut - first + 1))))),
    ):
        peak_bytes = line(name, order)
        better = planner.cheapest(cut, peak_bytes - chain.standing_bytes(cut))
        assert better is not None
        line("  planned in as much memory", better)


if __name__ == "__main__":
    main()
