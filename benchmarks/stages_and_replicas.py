"""A server in stages and replicas over two raylets on this machine: what each buys, what it sends, and what it costs.

    python -m benchmarks.stages_and_replicas [bought] [wide] [overhead] [messages] [pipelines]

All parts by default, in about twenty minutes on two cores. ``bought``: seconds of a step with one machine, with two
stages, with two replicas, and with both, trained in turn by the same processes, beside what the plan expects; the
weights must be the same bits. ``wide``: the same for a model of twice the width, with four times the arithmetic for
each message of twice the size, and twice as many micro-batches. ``overhead``: what a further stage adds to a step of a
model with next to no work. ``messages``: a message there and back in pieces that travel with the call, and through the
object store. ``pipelines``: period, idle time and memory of GPipe, 1F1B and the planned order for the built-in scenario
``rack``.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import yaml

from hybridsplit.orchestrator.relays.training import train_over_relays
from hybridsplit.profiler.relays import relay_costs
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.executors.ray_pieces import answered, joined, sent
from hybridsplit.runtime.executors.ray_relay_executor import RayRelayExecutor
from hybridsplit.runtime.relays.worker import RelayWorker
from hybridsplit.runtime.run.records import RoundDone
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
from hybridsplit.scenarios.loader import builtin_text
from hybridsplit.scenarios.relays.loading import single_cut, validate_relays
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.units import format_bytes, format_seconds
from hybridsplit.solver.relays.assemble import make_relay_plan
from hybridsplit.solver.relays.pipelines import period_s, pipeline_orders
from hybridsplit.solver.relays.routes import routes_of

WORK = {"num_hidden_layers": 8, "hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 4}
WIDE = WORK | {"hidden_size": 256, "intermediate_size": 1024}
LITTLE = {"num_hidden_layers": 6, "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
STEPS, ROUNDS, PARTS = 10, 3, 16
BATCH = 64, 128
CARD, CLINIC = "rpi5_8gb", "jetson_nano_4gb"


@dataclass(frozen=True)
class Trained:
    """A run, measured.

    Parameters
    ----------
    step_s
        Median wall seconds of a step, of the rounds in which no memory is measured.
    state
        Final weights.
    peaks
        Measured peak by machine.
    """

    step_s: float
    state: dict[str, torch.Tensor]
    peaks: dict[str, int]


def scenario_of(
    model: dict[str, int],
    stages: int,
    replicas: int,
    parts: int = PARTS,
    steps: int = STEPS,
    batch: tuple[int, int] = BATCH,
) -> RelayScenario:
    """One clinic of ``rack`` with a smaller model, in front of so many stages of so many machines each."""
    document: dict[str, Any] = yaml.safe_load(builtin_text("rack"))
    document["name"] = f"stages-{stages}-replicas-{replicas}"
    document["model"]["config"] |= model | {"vocab_size": 128}
    # A round ends with its score, which is no part of a step.
    document["data"] |= {"num_samples": 2 * batch[0] + 4, "test_fraction": 4 / (2 * batch[0] + 4)}
    document["training"] |= {
        "micro_batches": [parts], "partial_sums": 2, "pipeline": "gpipe", "local_steps": steps, "rounds": ROUNDS,
        "cuts": {"most": stages}, "optimizer": {"name": "sgd", "learning_rate": 0.05}, "batch_size": batch[0],
        "sequence_length": batch[1],
    }  # fmt: skip
    node = {"device": CARD} | ({"replicas": replicas, "replica_bps": 10e9} if replicas > 1 else {})
    both = {"uplink_bps": 10e9, "downlink_bps": 10e9}
    names = ["clinic-0", *(f"card-{k}" for k in range(stages))]
    document["network"] = {
        "nodes": [{"node": name, **node} for name in names[1:]],
        "links": [{"from": a, "to": b, **both} for a, b in itertools.pairwise(names)],
    }
    document["clients"] = [{"group": "clinic-0", "device": CLINIC, "memory_budget_bytes": "2 GiB"}]
    scenario = validate_relays(document, document["name"])
    if model is LITTLE:
        return scenario
    route = routes_of(scenario, relay_costs(scenario))[0]
    # Memory for the embedding alone, so that all the rest is the server's.
    document["clients"][0]["memory_budget_bytes"] = int(route.memory_bytes[0, 0, 1] + parts * route.held_bytes[0, 0, 1])
    return validate_relays(document, document["name"])


def planned(scenario: RelayScenario) -> RelayPlan:
    """The best plan, which uses every stage where there is work."""
    return make_relay_plan(scenario, relay_costs(scenario))


def trained(scenario: RelayScenario, plan: RelayPlan, address: str | None) -> Trained:
    """Train in this process, or on a cluster."""
    moments: list[float] = []

    def note(done: RoundDone) -> None:
        moments.append(time.perf_counter())

    executor: Any
    if address is None:
        executor = InlineExecutor(single_cut(scenario), make_worker=RelayWorker)
    else:
        executor = RayRelayExecutor(single_cut(scenario), scenario.network.machines(), 2, address=address)
    with executor:
        result = train_over_relays(plan, scenario, executor, ROUNDS, on_round=note).result
    peaks = {machine: peak for of_client in result.node_peak_bytes.values() for machine, peak in of_client.items()}
    state = {name: tensor.clone() for name, tensor in result.state.items()}
    return Trained(float(np.median(np.diff(moments))) / scenario.training.local_steps, state, peaks)


@contextmanager
def two_raylets() -> Iterator[str]:
    """Two machines on this one, with a core each."""
    import ray
    from ray.cluster_utils import Cluster

    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    machines.add_node(num_cpus=1)
    try:
        yield machines.address
    finally:
        ray.shutdown()
        machines.shutdown()


def bought(
    model: dict[str, int] = WORK, steps: int = STEPS, parts: int = PARTS, batch: tuple[int, int] = BATCH
) -> None:
    """Train the same model over one machine, two stages, two replicas, and both."""
    layouts = {"one machine": (1, 1), "two stages": (2, 1), "two replicas": (1, 2), "two stages of two": (2, 2)}
    found: dict[str, Trained] = {}
    plans = {}
    with two_raylets() as address:
        for name, layout in layouts.items():
            scenario = scenario_of(model, *layout, parts, steps, batch)
            plans[name] = planned(scenario)
            found[name] = trained(scenario, plans[name], address)
    scenario = scenario_of(model, 1, 1, parts, steps, batch)
    alone = trained(scenario, plans["one machine"], None)
    one = found["one machine"]
    print(
        f"two raylets of one core each; a step of {batch[0]} sequences of {batch[1]} tokens in {parts} micro-batches, "
        f"width {model['hidden_size']}"
    )
    print(
        f"{'server':<18} {'a step':>9} {'of one':>7} {'planned':>8} {'bits':>6} {'peak of a machine':>18} "
        f"{'sums sent':>10}"
    )
    for name, run in {"(in one process)": alone, **found}.items():
        plan = plans.get(name, plans["one machine"])
        client = plan.clients[0]
        expected = client.alone_s / plans["one machine"].clients[0].alone_s
        equal = all(torch.equal(run.state[key], tensor) for key, tensor in one.state.items())
        sent = sum(part.reduced_bytes * part.replicas for part in client.placement)
        print(
            f"{name:<18} {format_seconds(run.step_s):>9} {run.step_s / one.step_s:>6.2f}x "
            f"{'' if name not in plans else f'{expected:.2f}x':>8} {'same' if equal else 'OTHER':>6} "
            f"{format_bytes(max(run.peaks.values())):>18} {format_bytes(sent):>10}"
        )
        assert equal, f"{name}: other bits"


def wide() -> None:
    """Train a wider model likewise, where computing takes a larger part."""
    bought(WIDE, steps=4, parts=2 * PARTS, batch=(2 * BATCH[0], BATCH[1]))


def overhead() -> None:
    """Add stages to a model with next to no work: what is added to a step is processes and messages."""
    print("a model with next to no work, 4 sequences of 8 tokens: seconds that a further stage adds to a step")
    with two_raylets() as address:
        for parts in (1, 4):
            _overhead_at(parts, address)


def _overhead_at(parts: int, address: str) -> None:
    seconds = {}
    for stages in (1, 2, 3, 4):
        scenario = scenario_of(LITTLE, stages, 1, parts=parts, steps=20, batch=(4, 8))
        plan = make_relay_plan(scenario, relay_costs(scenario), "even-split")
        inline, remote = trained(scenario, plan, None), trained(scenario, plan, address)
        seconds[stages] = remote.step_s - inline.step_s
        each = format_seconds(seconds[stages] / stages)
        print(
            f"{parts} micro-batches, {stages} stages: {format_seconds(remote.step_s)} a step on processes, "
            f"{format_seconds(inline.step_s)} in one process: {each} a stage and step"
        )
    slope = float(np.polyfit(list(seconds), list(seconds.values()), 1)[0])
    print(f"{parts} micro-batches: a further stage adds {format_seconds(slope)} a step")


class _Echo:
    """Returns what it gets."""

    async def whole(self, payload: bytes) -> bytes:
        """Return it as one answer."""
        return payload

    async def pieces(self, number: int, *pieces: bytes) -> Any:
        """Return it in pieces."""
        return answered(joined(pieces), number)


def messages() -> None:
    """Send messages to a process of the other raylet and back, in either way."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    print("a message to another raylet and back, median of 40")
    with two_raylets() as address:
        ray.init(address=address, logging_level="ERROR")
        here = ray.get_runtime_context().get_node_id()
        other = next(node["NodeID"] for node in ray.nodes() if node["NodeID"] != here)
        where = NodeAffinitySchedulingStrategy(other, soft=False)
        echo = ray.remote(num_cpus=0, scheduling_strategy=where)(_Echo).remote()
        for size in (64_000, 256_000, 1_000_000, 2_000_000):
            payload = np.random.default_rng(0).bytes(size)
            seconds = []
            for once in (
                lambda payload=payload: ray.get(echo.whole.remote(payload)),
                lambda payload=payload: joined(ray.get(sent(echo.pieces, payload))),
            ):
                assert once() == payload
                seconds.append(float(np.median([_seconds_of(once) for _ in range(40)])))
            through_store_s, in_pieces_s = seconds
            print(
                f"{format_bytes(size):>11}: through the object store {format_seconds(through_store_s)}, in pieces "
                f"{format_seconds(in_pieces_s)}, {through_store_s / in_pieces_s:.1f}x"
            )


def _seconds_of(once: Callable[[], object]) -> float:
    begun_s = time.perf_counter()
    once()
    return time.perf_counter() - begun_s


def pipelines() -> None:
    """Print the orders of the first clinic of ``rack``."""
    scenario = validate_relays(yaml.safe_load(builtin_text("rack")), "rack")
    plan = make_relay_plan(scenario, relay_costs(scenario))
    client = plan.clients[0]
    period = format_seconds(period_s(client, scenario))
    print(f"rack, {client.id}: {client.micro_batches} micro-batches, one in {period}")
    for one in pipeline_orders(client, scenario):
        print(
            f"{one.order:<8} a step {format_seconds(one.step_s)}, idle {one.idle_share:.1%}, in flight "
            f"{' '.join(map(str, one.warm_ups))}, most memory {format_bytes(max(one.peak_bytes))}"
        )


PARTS_OF_IT: dict[str, Callable[[], None]] = {
    "bought": bought,
    "wide": wide,
    "overhead": overhead,
    "messages": messages,
    "pipelines": pipelines,
}


def main() -> None:
    """Print the parts that are asked for."""
    torch.set_num_threads(1)
    for name in sys.argv[1:] or PARTS_OF_IT:
        PARTS_OF_IT[name]()
        print()


if __name__ == "__main__":
    main()
