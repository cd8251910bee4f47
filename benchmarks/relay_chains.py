"""Chains of machines and many clients on shared relays: exactness, published figures, speed.

    python -m benchmarks.relay_chains [published] [warm-up] [speed] [clients] [walks] [factory] [brute-force]
        [bounds]

All parts by default. ``published``: periods of PipeEdge's published layer times, which the replay plays too.
``warm-up``: how far orders of training are from their bound. ``speed``: the programmes beside a mixed-integer programme
of HiGHS on the same chain, as a ratio. ``clients``: 1,000 clients over 20 relays. ``walks``: a round of these in time,
in Python and compiled. ``factory``: the built-in scenario beside its best single cut, and where one fast machine makes
one cut the best. ``brute-force``: 1,000 random chains against all cuts. ``bounds``: 1,000 random rounds
of two or three clients against what deadlines prove.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix

from hybridsplit.profiler.relays import relay_costs
from hybridsplit.runtime.replay_relays.processes import play_relays, play_works
from hybridsplit.runtime.replay_relays.work import ClientWork, Leg, Machine
from hybridsplit.scenarios.compiled.compiling import COMPILED, PYTHON, has_numba
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
from hybridsplit.scenarios.loader import load_task
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.units import bits
from hybridsplit.solver.chain.device_types import Pipeline, shortest_period
from hybridsplit.solver.chain.least_bottleneck import burst_of_items, least_period
from hybridsplit.solver.chain.least_sum import least_sum
from hybridsplit.solver.chain.order import best_warm_ups, one_forward_one_backward, step_seconds
from hybridsplit.solver.chain.training_bound import least_training_bound
from hybridsplit.solver.chain.values import Chain
from hybridsplit.solver.relays.assemble import make_relay_plan
from hybridsplit.solver.relays.columns import column_of
from hybridsplit.solver.relays.routes import routes_of
from hybridsplit.solver.relays.task import Task, with_deep_depths
from hybridsplit.solver.relays.walk import Walker
from tests.solver.chain.chains import random_chain
from tests.solver.chain.test_order import bound_s, random_stages
from tests.solver.chain.test_programmes import check_instance
from tests.solver.relays.tasks import random_costs, relay_scenario
from tests.solver.relays.test_deadline import check_instance as check_round

LAYERS = Path(__file__).with_name("pipeedge_layers.json")
_VALUE_BYTES = 4
_ITEMS = 200


def published() -> None:
    """Plan PipeEdge's layer times over its boards, and replay the plans."""
    data: dict[str, Any] = json.loads(LAYERS.read_text(encoding="utf-8"))
    print(f"published layer times: {data['source']}")
    print(f"{'model':<10} {'boards':<34} {'period':>9} {'replayed':>9} {'even split':>10} {'speed-up':>9}")
    for model, by_type in data["seconds_a_layer"].items():
        types = list(by_type)
        block_s = np.array([by_type[name] for name in types])
        size_bytes = data["batch_size"] * _VALUE_BYTES * np.array([0, *data["values_after_a_layer"][model]])
        link_s = bits(1) * size_bytes / data["link_bps"]
        counts = [[4, 4]] if model == "ViT-Base" else [[16, 0], [0, 16]]
        for count in counts:
            found = shortest_period(block_s, count, link_s)
            order = [kind for kind, number in enumerate(count) for _ in range(number)]
            even = _even(block_s, order, link_s)
            used = [(i, n) for i, n in enumerate(count) if n]
            boards = ", ".join(f"{n} x {types[i]}" for i, n in used)
            whole = f"{block_s[used[0][0]].sum() / found.period_s:.2f}" if len(used) == 1 else ""
            replayed = _replayed(found, block_s, link_s)
            print(f"{model:<10} {boards:<34} {found.period_s:>7.4f} s {replayed:>7.4f} s {even:>8.4f} s {whole:>9}")
    print("published beside them: 10.59 measured on 16 boards by EdgePipe (arXiv 2110.14895), which a plan leaves out")


def _even(block_s: np.ndarray, order: list[int], link_s: np.ndarray) -> float:
    cuts = np.linspace(0, block_s.shape[1], len(order) + 1).round().astype(int)
    busy = [block_s[kind, a:c].sum() for kind, a, c in zip(order, cuts, cuts[1:], strict=False)]
    return float(max([*busy, *link_s[cuts[1:-1]]]))


def _replayed(found: Pipeline, block_s: np.ndarray, link_s: np.ndarray) -> float:
    """Period of a stream of items in SimPy, from the end of the first to that of the last."""
    machines = tuple(
        Machine(f"board-{k}", float(block_s[kind, a:c].sum()), 0.0, 0.0, _ITEMS)
        for k, (kind, a, c) in enumerate(found.stages)
    )
    links = [float(link_s[c]) for _, _, c in found.stages[:-1]]
    up = tuple((Leg(f"link-{k}", f"link-{k}", 0, seconds, 0.0),) for k, seconds in enumerate(links))
    ends = [
        play_works([ClientWork("stream", 1, number, False, machines, up, up, (), ())], 1, streams=False).value_s
        for number in (1, _ITEMS)
    ]
    return (ends[1] - ends[0]) / (_ITEMS - 1)


def warm_up() -> None:
    """Compare orders with the bound of training over random chains."""
    print("\nseconds of a step over its bound, 600 chains of 2 to 4 machines with a link between each")
    for number in (8, 32):
        one, best = [], []
        for seed in range(300):
            stages = random_stages(np.random.default_rng(seed), 2 + seed % 3)
            least = bound_s(stages, number)
            one.append(step_seconds(stages, one_forward_one_backward(stages, number), number) / least)
            best.append(best_warm_ups(stages, number)[1] / least)
        for name, values in (("1F1B", one), ("best warm-up found", best)):
            print(f"  m = {number:>2}  {name:<20} median {np.median(values):.3f}  worst {max(values):.3f}")


def _timed(run: Callable[[], Any]) -> tuple[float, Any]:
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        found = run()
        times.append(time.perf_counter() - begun)
    return min(times), found


def speed() -> None:
    """Time the programmes on one large chain, and beside HiGHS on a smaller one."""
    chain = _without_exchange(random_chain(np.random.default_rng(0), 8, 100, limited=False))
    print("\none chain of 8 machines and 100 blocks, m = 16")
    programmes: dict[str, Callable[[Chain], Any]] = {
        "sum": least_sum,
        "sum and bottleneck": lambda c: burst_of_items(c, 16),
        "bottleneck": least_period,
        "bound of training": lambda c: least_training_bound(c, 16),
    }
    for name, run in programmes.items():
        seconds, _ = _timed(lambda run=run: run(chain))  # type: ignore[misc]
        print(f"  {name:<20} {seconds * 1e3:8.1f} ms")
    print("beside scipy's milp (HiGHS) on the same chain: 5 machines, 24 blocks, m = 16")
    small = _without_exchange(random_chain(np.random.default_rng(1), 5, 24, limited=False))
    ours, found = _timed(lambda: burst_of_items(small, 16))
    begun = time.perf_counter()
    value = _by_milp(small, 16)
    theirs = time.perf_counter() - begun
    same = "equal" if abs(value - found.value_s) <= 1e-6 * value else f"{value:.9g} against {found.value_s:.9g}"
    print(f"  ours {ours * 1e3:.2f} ms, HiGHS {theirs:.2f} s: ratio {theirs / ours:.0f}, value {same}")


def _without_exchange(chain: Chain) -> Chain:
    zero = np.zeros_like(chain.once_s)
    return Chain(
        chain.node_s, chain.up_s, chain.down_s, chain.delay_s, zero, chain.node_delay_s, chain.most_parts
    )  # fmt: skip


def _by_milp(chain: Chain, repeats: int) -> float:
    """The same problem as a flow of one unit through (machine, cut), with the bottleneck as a variable."""
    spans = [
        (k, a, c)
        for k in range(chain.num_nodes)
        for a in range(chain.num_blocks + 1)
        for c in range(a, chain.num_blocks + 1)
        if (k > 0 or a == 0) and (k < chain.num_nodes - 1 or c == chain.num_blocks)
    ]
    cost = np.zeros(len(spans) + 1)
    cost[-1] = repeats - 1
    rows: list[tuple[int, int, float]] = []
    limits: list[tuple[int, int, float]] = []
    size = chain.num_blocks + 1
    for j, (k, a, c) in enumerate(spans):
        cost[j] = chain.node_s[k, a, c] + chain.node_delay_s[k, a, c]
        limits.append((3 * k, j, chain.node_s[k, a, c]))
        if k < chain.num_nodes - 1:
            cost[j] += chain.up_s[k, c] + chain.down_s[k, c] + chain.delay_s[k, c]
            limits += [(3 * k + 1, j, chain.up_s[k, c]), (3 * k + 2, j, chain.down_s[k, c])]
            rows.append(((k + 1) * size + c, j, 1.0))
        rows.append((k * size + a, j, -1.0))
    limits += [(row, len(spans), -1.0) for row in range(3 * chain.num_nodes)]
    supply = np.zeros(chain.num_nodes * size)
    supply[0] = -1.0
    shapes = ((chain.num_nodes * size, len(spans) + 1), (3 * chain.num_nodes, len(spans) + 1))
    flow, most = (
        coo_matrix((v, (r, c)), shape).tocsr()
        for (r, c, v), shape in zip((zip(*rows, strict=True), zip(*limits, strict=True)), shapes, strict=True)
    )
    done = milp(
        cost, integrality=np.array([1] * len(spans) + [0]), bounds=Bounds(0, [*[1] * len(spans), np.inf]),
        constraints=[LinearConstraint(flow, supply, supply), LinearConstraint(most, -np.inf, 0)],
        options={"mip_rel_gap": 1e-9},
    )  # fmt: skip
    return float(done.fun)


def clients() -> None:
    """Plan 1,000 clients over 20 relays."""
    print("\n1,000 clients in 18 groups over 20 relays (18 access points, an edge server, a cloud), 12 blocks")
    counts = tuple([56] * 17 + [48])
    for minimise, seed in itertools.product(("inference-period", "round-latency"), (5, 6, 7)):
        scenario = relay_scenario(counts, minimise=minimise, shared=True, rate_bps=1e9, search={"time_limit_s": 25.0})
        costs = random_costs(np.random.default_rng(seed), 12, (1, 4), trains=minimise == "round-latency")
        begun, before_s = time.perf_counter(), time.process_time()
        plan = make_relay_plan(scenario, costs)
        seconds, busy_s = time.perf_counter() - begun, time.process_time() - before_s
        print(
            f"  {minimise:<17} costs {seed} {seconds:5.1f} s (CPU {busy_s:4.1f} s)  value {plan.value_s:.4g} s  "
            f"bound {plan.lower_bound_s:.4g} s  gap {plan.gap:.2%}",
            flush=True,
        )


def walks() -> None:
    """Time the walk of a round of 1,000 clients that all take what is best for a client with nobody else."""
    scenario = relay_scenario(tuple([56] * 17 + [48]), shared=True, rate_bps=1e9)
    costs = random_costs(np.random.default_rng(5), 12, (1, 4), trains=True)
    task = Task(scenario, costs, routes_of(scenario, costs), math.inf)
    best = {
        route.group: column_of(route, least_sum(route.chain).cuts) for route in task.routes if route.micro_batches == 4
    }
    placed = with_deep_depths(task, [best[group] for group in task.groups])
    print("\na round of 1,000 clients, each with four micro-batches over all machines, CPU seconds")
    ends = {}
    for name, form in (("Python", PYTHON), ("compiled", COMPILED)) if has_numba() else (("Python", PYTHON),):
        walker = Walker(trains=True, form=form)
        walker.ends_s(placed)
        begun = time.process_time()
        ends[name] = walker.ends_s(placed)
        print(f"  {name:<10} {time.process_time() - begun:.3f} s")
    print(f"  the same to the bit: {len({tuple(one) for one in ends.values()}) == 1}")


def _factory_plan(*settings: str, strategy: str = "optimal") -> RelayPlan:
    scenario = load_task("factory", list(settings))
    assert isinstance(scenario, RelayScenario)
    return make_relay_plan(scenario, relay_costs(scenario), strategy)


def factory() -> None:
    """Compare the built-in scenario with its best single cut, and with one fast machine behind a fast link."""
    print("\nfactory")
    plan, single = _factory_plan(), _factory_plan(strategy="single-cut")
    replayed = play_relays(plan).value_s
    print(
        f"  {plan.most_cuts} cuts {plan.value_s:.4f} s (replayed {replayed:.4f} s), best single cut "
        f"{single.value_s:.4f} s, none below {single.lower_bound_s:.4f} s: {single.value_s / plan.value_s:.2f}x found, "
        f"{single.lower_bound_s / plan.value_s:.2f}x proven"
    )
    fast = _factory_plan("network.nodes.3.load=0")
    print(f"  with the whole cloud behind the same links: {fast.notes[0]}")


def brute_force() -> None:
    """Compare the four programmes with all cuts on 1,000 random chains."""
    for seed in range(1_000):
        check_instance(seed)
    print("\n1,000 random chains (2 to 4 machines, 3 to 7 blocks, m 1, 4 or 16): every programme equals brute force")


def bounds() -> None:
    """Compare what deadlines prove with drawn plans of 1,000 random rounds."""
    ratios = [check_round(seed) for seed in range(1_000)]
    print(
        "\n1,000 random rounds of two or three clients: no plan is below its bound; the best of 25 drawn is "
        f"{min(ratios):.4f} times it at least, {np.median(ratios):.2f} in the median"
    )


PARTS = {
    "published": published,
    "warm-up": warm_up,
    "speed": speed,
    "clients": clients,
    "walks": walks,
    "factory": factory,
    "brute-force": brute_force,
    "bounds": bounds,
}


def main() -> None:
    asked = sys.argv[1:] or list(PARTS)
    if unknown := [name for name in asked if name not in PARTS]:
        sys.exit(f"no part {unknown[0]!r}: needs {', '.join(PARTS)}")
    for name in asked:
        PARTS[name]()


if __name__ == "__main__":
    main()
