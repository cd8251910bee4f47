"""How fast rounds are replayed: beside an older build, beside bare SimPy, and as clients grow.

    python -m benchmarks.replay_speed [--before FOLDER] [--traces FOLDER] [--rounds 100] [--repeats 3]

Three tables. ``city`` with constant shares over recorded links, in CPU seconds of the process, beside the build in
FOLDER: each build replays the plan that it made itself, in turns, and the medians are compared. ``city`` with more
clients over as many rounds on constant links, whose CPU seconds should grow no faster than the clients. And, in one
process, jobs a second of a replay beside timeouts a second of bare SimPy processes: as Python and, where Numba is
installed, compiled, with what it took until the first compiled replay was done.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import simpy

from benchmarks.large_plan import scenarios
from benchmarks.start_up import ROOT, STATIC, Build

TIMEOUTS = 200_000
CLIENTS = (1_000, 3_000, 10_000)
SAMPLES = 400
COLLECTION = 200_000
"""Allocations between looks for garbage, as on the command line."""


def recordings(folder: Path) -> Path:
    """Write three made-up recordings of a link that changes every second or two; real ones are given by --traces."""
    import numpy as np

    folder.mkdir()
    for number in range(3):
        rng = np.random.default_rng(number)
        durations_ms, rates_kbps = rng.uniform(500, 2500, SAMPLES), rng.gamma(2.0, 5e3, SAMPLES)
        samples = [
            {"duration_ms": round(duration), "bandwidth_kbps": round(rate)}
            for duration, rate in zip(durations_ms, rates_kbps, strict=True)
        ]
        (folder / f"made-up-{number}.json").write_text(json.dumps(samples), encoding="utf-8")
    return folder


def beside_the_older(builds: dict[str, Build], traces: Path, num_rounds: int, repeats: int) -> None:
    """Print CPU seconds of each build, and how many times those of ours the older one needs."""
    seconds: dict[str, list[float]] = {name: [] for name in builds}
    for _ in range(repeats):
        for name, build in builds.items():
            command = ["replay", "city-static.json", "--traces", str(traces), "--rounds", str(num_rounds)]
            seconds[name].append(build.run(command)[0])
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        ratio = "" if name == "now" else f", {value / medians['now']:.1f}x"
        print(
            f"city, constant shares, {num_rounds} rounds over recordings, {name}: {value:.2f} CPU s{ratio}", flush=True
        )


def growth(build: Build, num_rounds: int) -> None:
    """Print CPU seconds of replays of more and more clients."""
    print(f"{'clients':>8} {'rounds':>7} {'CPU s':>7} {'MiB':>6} {'us a client and round':>22}")
    for num_clients in CLIENTS:
        folder = build.scratch / f"of-{num_clients}"
        folder.mkdir()
        plan = folder / "plan.json"
        build.run(
            ["plan", str(scenarios(num_clients, folder)["five groups"]), "--strategy", STATIC, "--out", str(plan)]
        )
        seconds, mib = build.run(["replay", str(plan), "--rounds", str(num_rounds)])
        each_us = seconds / num_clients / num_rounds * 1e6
        print(f"{num_clients:>8} {num_rounds:>7} {seconds:>7.1f} {mib:>6.0f} {each_us:>22.2f}", flush=True)


def timed(what: Callable[[], Any]) -> float:
    """Return CPU seconds."""
    start_s = time.process_time()
    what()
    return time.process_time() - start_s


def bare_simpy() -> None:
    """Let a hundred processes wait."""

    def waits(environment: simpy.Environment, delay_s: float) -> Any:
        for _ in range(TIMEOUTS // 100):
            yield environment.timeout(delay_s)

    environment = simpy.Environment()
    for number in range(100):
        environment.process(waits(environment, 1.0 + number / 100))
    environment.run()


def beside_simpy(num_rounds: int, folder: Path) -> None:
    """Print jobs a second over timeouts a second, of walks as Python and compiled, in pairs one after the other."""
    from hybridsplit.profiler.options import profile_scenario
    from hybridsplit.runtime.replay import replay
    from hybridsplit.runtime.replay.trace_files import assign_traces
    from hybridsplit.scenarios.compiled.compiling import VARIABLE, has_numba
    from hybridsplit.scenarios.contracts.jobs import round_jobs
    from hybridsplit.scenarios.loader import load_scenario
    from hybridsplit.solver.planner import make_plan

    gc.freeze()
    gc.set_threshold(COLLECTION)
    scenario = load_scenario("city", [])
    options = profile_scenario(scenario)
    for strategy in ("static", "time-shared", "optimal"):
        plan = make_plan(scenario, options, strategy)
        recorded = assign_traces(folder, [client.id for client in plan.clients], seed=0)
        jobs = num_rounds * sum(len(round_jobs(client, scenario.training.local_steps)) for client in plan.clients)
        for links, traces in (("constant links", None), ("recordings", recorded)):
            for form, how in (("off", "as Python"), ("on", "compiled")):
                if form == "on" and not has_numba():
                    continue
                os.environ[VARIABLE] = form
                samples = traces is not None
                played = partial(replay, plan, scenario, num_rounds=num_rounds, traces=traces, samples_windows=samples)
                first_s = timed(played)
                pairs = [(timed(bare_simpy), timed(played)) for _ in range(3)]
                bare_s, own_s = (statistics.median(values) for values in zip(*pairs, strict=True))
                ratio = (jobs / own_s) / (TIMEOUTS / bare_s)
                print(
                    f"city, {strategy}, {links}, {how}, {num_rounds} rounds: {jobs / own_s:,.0f} jobs/s, bare SimPy "
                    f"{TIMEOUTS / bare_s:,.0f} timeouts/s, ratio {ratio:.2f}; the first took {first_s:.1f} CPU s",
                    flush=True,
                )
    del os.environ[VARIABLE]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="checkout of the older build")
    parser.add_argument("--traces", type=Path, help="folder of recordings; three made-up ones when not given")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hybridsplit-") as name:
        scratch = Path(name)
        traces = recordings(scratch / "traces") if arguments.traces is None else arguments.traces.resolve()
        builds = {"now": Build(ROOT, scratch / "now")}
        if arguments.before is not None:
            builds["before"] = Build(arguments.before.resolve(), scratch / "before")
        for build in builds.values():
            build.scratch.mkdir()
            build.run(["plan", "city", "--strategy", STATIC, "--out", "city-static.json"])
        beside_the_older(builds, traces, arguments.rounds, arguments.repeats)
        growth(builds["now"], arguments.rounds)
        beside_simpy(max(1, arguments.rounds // 5), traces)


if __name__ == "__main__":
    main()
