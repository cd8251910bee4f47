"""Inference tasks: seconds and gap of the joint plan by size, beside a bare model, and the table of two rates.

Instances are random: models that ship with the package, from and to random devices, on MAX78000 with links of one rate;
weights stay in memory. Those that have no plan (all models together exceed the memory) are counted and drawn again.

The bare model lists every plan of every app as a column and leaves all to HiGHS, through the same cvxpy programme, to
the same gap. It is ended when its time is up.

python -m benchmarks.virtual_space [--instances N] [--bare-limit SECONDS] [--no-table]
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Iterator

import numpy as np

from hybridsplit.orchestrator.console import stdout
from hybridsplit.orchestrator.inference.comparing import rate_table
from hybridsplit.orchestrator.inference.views import rate_cells_table
from hybridsplit.profiler.accelerators.space import virtual_space
from hybridsplit.scenarios.contracts.virtual_space import VirtualSpace
from hybridsplit.scenarios.errors import HybridSplitError
from hybridsplit.scenarios.inference.loading import validate_inference
from hybridsplit.scenarios.inference.schema import InferenceScenario
from hybridsplit.scenarios.loader import load_task
from hybridsplit.solver.virtual_space.columns import make_column
from hybridsplit.solver.virtual_space.enumerate import all_parts
from hybridsplit.solver.virtual_space.master import Programme
from hybridsplit.solver.virtual_space.planner import make_inference_plan
from hybridsplit.solver.virtual_space.pool import Clock
from hybridsplit.solver.virtual_space.search import Search

MODELS = ("simplenet", "ressimplenet", "kws20-v3", "convnet5", "widenet-14")
SIZES = ((8, 8, 5.0), (16, 32, 60.0))
LINKS = ("8 Mbit/s", "50 Mbit/s")
GAP = 0.01


def instance(apps: int, devices: int, link: str, seed: int) -> InferenceScenario:
    draw = np.random.default_rng([apps, devices, seed])
    names = [f"device-{index:0{len(str(devices - 1))}d}" for index in range(devices)]
    return validate_inference(
        {
            "task": "inference",
            "name": f"random-{apps}-on-{devices}",
            "apps": [
                {"app": f"app-{index}", "model": str(draw.choice(MODELS)), "source": str(draw.choice(names)),
                 "target": str(draw.choice(names))}
                for index in range(apps)
            ],
            "accelerators": [{"group": "device", "device": "max78000", "count": devices, "link_bps": link}],
            "search": {"most_cuts": 2, "gap": GAP},
        },
        "the instance",
    )  # fmt: skip


def feasible(apps: int, devices: int, link: str, number: int) -> Iterator[tuple[int, InferenceScenario, VirtualSpace]]:
    found = 0
    for seed in range(100):
        scenario = instance(apps, devices, link, seed)
        space = virtual_space(scenario)
        if Search(space, 10.0, Clock(time.monotonic() + 5)).run() is not None:
            yield seed, scenario, space
            found += 1
        if found == number:
            return


def bare(space: VirtualSpace, answers: multiprocessing.Queue[tuple[float, float, int, bool]], limit_s: float) -> None:
    """Answer with the seconds of listing and of HiGHS, the plans, and whether HiGHS came to the gap."""
    begun = time.monotonic()
    columns = [
        make_column(space, index, parts) for index in range(len(space.apps)) for parts in all_parts(space, index)
    ]
    listed_s = time.monotonic() - begun
    answers.put((listed_s, 0.0, len(columns), False))
    frames = np.array([float(app.frames) for app in space.apps])
    begun = time.monotonic()
    solved = Programme(space, columns, frames).solve(limit_s, GAP)
    answers.put((listed_s, time.monotonic() - begun, len(columns), solved.is_proved))


def timed_bare(space: VirtualSpace, limit_s: float) -> str:
    """Say how long the bare model took; it is ended at the limit, which HiGHS itself may overrun."""
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=bare, args=(space, answers, limit_s))
    child.start()
    child.join(limit_s)
    is_late = child.is_alive()
    if is_late:
        child.kill()
        child.join()
    answer = None
    while not answers.empty():
        answer = answers.get()
    if answer is None:
        return f"bare model: not listed in {limit_s:.0f} s"
    listed_s, solved_s, number, is_met = answer
    if is_late:
        return f"bare model, {number:,} plans: listed in {listed_s:.1f} s, HiGHS without an end at {limit_s:.0f} s"
    ended = "within the gap" if is_met else "not within the gap"
    return f"bare model, {number:,} plans: listed in {listed_s:.1f} s, HiGHS {solved_s:.1f} s, {ended}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=5)
    parser.add_argument("--bare-limit", type=float, default=300.0)
    parser.add_argument("--no-table", action="store_true")
    asked = parser.parse_args()
    print(
        f"{'apps':>5} {'devices':>8} {'link':>10} {'seed':>5} {'plan s':>7} {'period ms':>10} {'gap':>7} {'columns':>8}"
    )
    for apps, devices, limit_s in SIZES:
        for link in LINKS:
            met, first = 0, True
            for seed, scenario, space in feasible(apps, devices, link, asked.instances):
                plan = make_inference_plan(scenario, space, time_limit_s=limit_s)
                met += plan.gap <= GAP and plan.solve_s <= limit_s
                print(
                    f"{apps:>5} {devices:>8} {link:>10} {seed:>5} {plan.solve_s:>7.2f} {plan.period_s * 1e3:>10.4f} "
                    f"{plan.gap:>7.2%} {plan.num_plans:>8}",
                    flush=True,
                )
                if first and apps == SIZES[0][0] and plan.gap <= GAP:
                    first = False
                    print(f"      {timed_bare(space, asked.bare_limit)}; this plan: {plan.solve_s:.2f} s", flush=True)
            print(f"      {met} of {asked.instances} within {GAP:.0%} and {limit_s:.0f} s", flush=True)
    if not asked.no_table:
        scenario = load_task("wearables")
        assert isinstance(scenario, InferenceScenario)
        try:
            stdout().print(rate_cells_table(rate_table(scenario)))
        except HybridSplitError as error:
            print(error)


if __name__ == "__main__":
    main()
