"""Rounds replayed by queues and schedulers beside the plan's own shares, and the replay's server beside theory.

``python -m benchmarks.schedulers`` plans quickstart, smart-home and campus with constant shares (``static``) and as
``optimal``, and prints for each the replayed round by every discipline of server and radio over the planned one. The
links are constant first, and then fade: Rayleigh blocks of 100 ms at 10 dB, the same windows for every discipline.
``--theory`` prints mean waits and times in the system of drawn jobs over those of queueing theory instead.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
import simpy

from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.replay import replay
from hybridsplit.runtime.replay.allocation import EqualParts, FirstCome, Rule
from hybridsplit.runtime.replay.divided import DividedResource
from hybridsplit.runtime.replay.generated_links import generated_link
from hybridsplit.runtime.replay.speeds import ConstantSpeed
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.contracts.disciplines import disciplines_of
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.sections.traces import GeneratedTrace
from hybridsplit.scenarios.streams import stream_seed
from hybridsplit.scenarios.units import format_seconds
from hybridsplit.solver.planner import make_plan

PAIRS = (
    ("plan", "plan"), ("first-come", "plan"), ("processor-sharing", "plan"), ("plan", "round-robin"),
    ("plan", "max-min"), ("plan", "proportional-fair"), ("first-come", "round-robin"), ("first-come", "max-min"),
    ("first-come", "proportional-fair"), ("processor-sharing", "round-robin"), ("processor-sharing", "max-min"),
    ("processor-sharing", "proportional-fair"),
)  # fmt: skip
ROUNDS = {"quickstart": 100, "smart-home": 3, "campus": 1}
"""Over links that fade: a round of quickstart is a tenth of a second, of the others some minutes."""
FADING = GeneratedTrace(fading="rayleigh", mean_snr_db=10.0, block_s=0.1, duration_s=600.0)


def faded(plan: Plan, scenario: Scenario) -> dict[str, BandwidthTrace]:
    """Draw a fading link for every client."""
    found = {}
    for client in plan.clients:
        both = generated_link(FADING, scenario.seed, client.id).both
        assert both is not None
        found[client.id] = both
    return found


def scenario_rows(name: str, rounds: int) -> None:
    """Print one scenario by all disciplines."""
    scenario = load_scenario(name, [])
    options = profile_scenario(scenario)
    plans = [make_plan(scenario, options, strategy) for strategy in ("static", "optimal")]
    links = [("constant", {}, 1), ("fading", faded(plans[0], scenario), rounds)]
    heads = [f"{plan.strategy}, {link}" for plan in plans for link, _, _ in links]
    planned = ", ".join(f"{plan.strategy} {format_seconds(plan.round_latency_s)}" for plan in plans)
    print(f"{name}: planned {planned}; replayed over planned, {rounds} rounds where links fade")
    print(f"{'server':18} {'radio':18} {'  '.join(f'{head:>17}' for head in heads)}   CPU s")
    for server, radio in PAIRS:
        start_s, ratios = time.process_time(), []
        for plan in plans:
            for _, traces, number in links:
                own = {client.id: traces[client.id] for client in plan.clients if traces}
                played = replay(
                    plan, scenario, num_rounds=number, traces=own, samples_windows=True,
                    disciplines=disciplines_of(server, radio),
                )  # fmt: skip
                ratios.append(played.total_s / number / plan.round_latency_s)
        used_s = time.process_time() - start_s
        print(f"{server:18} {radio:18} {'  '.join(f'{ratio:16.3f}x' for ratio in ratios)}  {used_s:6.1f}", flush=True)


def mean_time_s(rule: Rule, load: float, works_s: np.ndarray, gaps_s: np.ndarray) -> float:
    """Return the mean time in the system of jobs that arrive one after another."""
    environment = simpy.Environment()
    resource, speed, spent_s = DividedResource(environment, rule, len(works_s)), ConstantSpeed(1.0), []

    def job(number: int, work_s: float) -> Iterator[simpy.Event]:
        since_s = environment.now
        yield resource.serve(number, work_s, speed)
        spent_s.append(environment.now - since_s)

    def arrivals() -> Iterator[simpy.Event]:
        for number, (work_s, gap_s) in enumerate(zip(works_s.tolist(), gaps_s.tolist(), strict=True)):
            yield environment.timeout(gap_s / load)
            environment.process(job(number, work_s))

    environment.process(arrivals())
    environment.run()
    return float(np.mean(spent_s))


def theory(number: int) -> None:
    """Print the replay's server beside M/M/1, M/D/1 and processor sharing."""
    print(
        f"{'queue':10} {'load':>5} {'mean time in system':>20} {'theory':>8} {'ratio':>7}   {number:,} jobs of mean 1 s"
    )
    for load in (0.3, 0.5, 0.7):
        gaps_s = np.random.default_rng(stream_seed(0, "gaps", str(load))).exponential(1.0, number)
        drawn_s = np.random.default_rng(stream_seed(0, "works", str(load))).exponential(1.0, number)
        fixed_s = np.ones(number)
        for queue, rule, works_s, expected_s in (
            ("M/M/1", FirstCome(), drawn_s, 1 + load / (1 - load)),
            ("M/D/1", FirstCome(), fixed_s, 1 + load / (2 * (1 - load))),
            ("M/M/1-PS", EqualParts(), drawn_s, 1 / (1 - load)),
            ("M/D/1-PS", EqualParts(), fixed_s, 1 / (1 - load)),
        ):
            found_s = mean_time_s(rule, load, works_s, gaps_s)
            print(
                f"{queue:10} {load:5.1f} {found_s:18.3f} s {expected_s:6.3f} s {found_s / expected_s:7.3f}", flush=True
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", nargs="+", choices=list(ROUNDS), default=list(ROUNDS))
    parser.add_argument("--rounds", type=int, help="over links that fade")
    parser.add_argument("--theory", action="store_true")
    parser.add_argument("--jobs", type=int, default=40_000)
    chosen = parser.parse_args()
    if chosen.theory:
        theory(chosen.jobs)
        return
    for name in chosen.scenarios:
        scenario_rows(name, chosen.rounds or ROUNDS[name])


if __name__ == "__main__":
    main()
