"""What every strategy must keep, whatever it chooses."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pytest

from hybridsplit.runtime.replay import replay
from hybridsplit.scenarios.contracts.ledger import Source
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan, PlanStatus
from hybridsplit.scenarios.contracts.schedule import Simultaneous
from hybridsplit.scenarios.errors import ContractError, HybridSplitError, InfeasibleError
from hybridsplit.solver.planner import compute_bounds, make_plan
from hybridsplit.solver.search.joint import SearchResult
from hybridsplit.solver.strategies import Sharing, Strategy, find_strategy
from hybridsplit.solver.verify.plan import verify_plan
from hybridsplit.testing.degenerate import CASES, NOBODY_CAN
from hybridsplit.testing.instances import Instance, random_instance, with_batch_sizes, without_local_options

OBJECTIVES = ("time-to-progress", "round-latency", "energy")
SERVER_MODELS = ("per-client", "shared-mean", "shared-sequential")
LIMITS = ("server_memory", "energy_cap", "own_energy_cap", "coverage", "min_cut")
every_link = pytest.mark.parametrize("link_model", ["fixed", "shannon"])


class StrategyContract:
    """Subclass it, and state which strategy is meant.

    Every plan is feasible, bounded, explained and repeated to the bit; it survives JSON and takes in the replay what it
    was planned to take; no static plan is better than that of ``optimal``; and input at its edges gives a plan or a
    reason.
    """

    strategy: ClassVar[str | Strategy]
    """Name of a registered strategy, or a strategy."""
    restricts: ClassVar[str | None] = None
    """What the reason says (a regular expression) where an instance has plans and this strategy allows none of them.
    Left at None, a strategy must have a plan wherever there is one, apart from instances with limits."""
    weighs_batch_sizes: ClassVar[bool] = True
    """Whether it takes a batch size that is worth its time, and leaves one that is not."""

    @property
    def chosen(self) -> Strategy:
        """The strategy."""
        return find_strategy(self.strategy)

    def plan(self, instance: Instance, bounds: SearchResult | None = None) -> Plan:
        """Plan an instance, and check what the verifier does not."""
        plan = make_plan(instance.scenario, instance.table, self.strategy, bounds=bounds)
        assert plan.strategy == self.chosen.name
        check_figures(plan)
        return plan

    def plan_or_reason(self, instance: Instance, bounds: SearchResult | None = None) -> Plan | str:
        """Plan an instance as :meth:`plan`, or return why there is no plan."""
        try:
            return self.plan(instance, bounds)
        except (InfeasibleError, ContractError) as error:
            return str(error)

    def is_own_restriction(self, reason: str) -> bool:
        """Whether a reason names a restriction of the strategy's own."""
        is_expected = self.restricts is not None and re.search(self.restricts, reason) is not None
        return is_expected and reason.startswith(f"{self.chosen.name}: ")

    def test_states_what_it_is(self) -> None:
        """A name that commands can carry, one sentence, and a way of sharing."""
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*", self.chosen.name)
        assert self.chosen.summary
        assert "\n" not in self.chosen.summary
        assert self.chosen.sharing in Sharing

    @every_link
    @pytest.mark.parametrize("minimise", OBJECTIVES)
    @pytest.mark.parametrize("server_memory", [False, True])
    def test_plans_are_feasible_bounded_and_repeat(self, link_model: str, minimise: str, server_memory: bool) -> None:
        """On either link model, for every objective, with and without a limit that couples the clients."""
        instance, bounds = _bounded(
            21, num_clients=4, num_options=None, num_cuts=4, link_model=link_model, minimise=minimise, local_steps=2,
            server_memory=server_memory, minimum_progress=0.3,
        )  # fmt: skip
        plan = self.plan_or_reason(instance, bounds)
        if isinstance(plan, str):
            # Only a restriction may fail here, and it says so under its own name.
            assert server_memory, plan
            assert plan.startswith(f"{self.chosen.name}: "), plan
            return
        verify_plan(plan, instance.scenario, instance.table)
        assert (plan.status is PlanStatus.BASELINE) == (not self.chosen.claims_optimality)
        assert plan.schedule_lower_bound_s <= plan.lower_bound_s <= plan.objective_s
        by_energy = minimise == "energy"
        value, bound = (plan.objective_j, plan.lower_bound_j) if by_energy else (plan.objective_s, plan.lower_bound_s)
        assert value is not None
        assert bound is not None
        assert plan.gap == pytest.approx(value / bound - 1, abs=1e-12)
        assert all(client.reason for client in plan.clients)
        for client in plan.clients:
            elapsed_s = math.fsum(client.phases_s.values()) + math.fsum(client.waiting_s.values())
            assert elapsed_s == pytest.approx(client.latency_s, rel=1e-9)
            assert client.client_peak_bytes <= client.memory_budget_bytes
        assert _without_times(self.plan(instance, bounds)) == _without_times(plan)

    @pytest.mark.parametrize("case", range(8))
    def test_no_static_plan_is_better_than_optimal(self, case: int) -> None:
        """On instances with different objectives and limits, by the plan's figures and by the replay's."""
        instance, best, bounds = _best(case)
        check_against_the_best(self.strategy, instance, best, bounds)

    @pytest.mark.parametrize("case", list(CASES), ids=lambda case: case.replace(" ", "-"))
    def test_a_plan_or_a_reason(self, case: str) -> None:
        """Edges of the input: a verified plan, or an error that says what to change."""
        instance, bounds = _edge(case)
        assert (bounds is None) == (case in NOBODY_CAN)
        found = self.plan_or_reason(instance, bounds)
        if isinstance(found, Plan):
            assert case not in NOBODY_CAN
            return
        assert len(found) > 40
        assert case in NOBODY_CAN or self.is_own_restriction(found), found

    @pytest.mark.parametrize(
        ("scale", "expected"), [({8: (1.0, 1.0), 16: (2.0, 0.9)}, 8), ({8: (1.0, 0.4), 16: (1.0, 1.0)}, 16)]
    )
    def test_a_batch_size_that_is_worth_its_time_is_taken(
        self, scale: dict[int, tuple[float, float]], expected: int
    ) -> None:
        """And one that is not worth it is left."""
        instance = random_instance(5, num_clients=4, num_options=None, num_cuts=4)
        offered = Instance(instance.scenario, with_batch_sizes(instance.table, scale))
        sizes = {client.batch_size for client in self.plan(offered).clients}
        assert sizes == {expected} if self.weighs_batch_sizes else sizes <= set(scale)

    def test_plans_where_no_device_may_hold_the_whole_model(self) -> None:
        """As where the server has the labels: a plan without such options, or an error that says so."""
        instance = without_local_options(random_instance(5, num_clients=4, num_options=None, num_cuts=4))
        plan = self.plan_or_reason(instance)
        if isinstance(plan, str):
            assert self.is_own_restriction(plan), plan
            return
        assert all(client.server_compute_s > 0 for client in plan.clients)
        # No bounds are given here, so that theirs repeat as well.
        assert _without_times(self.plan(instance)) == _without_times(plan)

    @pytest.mark.parametrize("server_model", SERVER_MODELS)
    @pytest.mark.parametrize(("local_steps", "link_model"), [(1, "shannon"), (2, "fixed"), (5, "shannon")])
    def test_replay_takes_what_was_planned(self, local_steps: int, link_model: str, server_model: str) -> None:
        """Every phase of every client, its waiting and its bytes, whatever the server does between steps."""
        instance, bounds = shared(local_steps, local_steps, server_model, link_model)
        if server_model == "shared-sequential" and self.chosen.divides_server:
            with pytest.raises(InfeasibleError, match=r"(?s)optimal or time-shared or split-sequential.*shared-mean"):
                self.plan(instance)
            return
        plan = self.plan(instance, bounds)
        replayed = replay(plan, instance.scenario, num_rounds=2)
        assert replayed.round_latency_s == pytest.approx([plan.round_latency_s] * 2, rel=1e-9)
        assert replayed.round_latency_s[0] >= plan.schedule_lower_bound_s * plan.progress
        planned = plan.ledger(2).table.set_index(["client", "round", "phase"]).sort_index()
        played = replayed.ledger.of(Source.REPLAYED).set_index(["client", "round", "phase"]).sort_index()
        for column in ("seconds", "waiting_s", "bytes"):
            assert played[column].to_numpy() == pytest.approx(
                planned.loc[played.index, column].to_numpy(), rel=1e-9, abs=1e-9 * plan.round_latency_s
            )
        if server_model == "shared-mean" and self.chosen.sharing is Sharing.STATIC:
            check_steps_end_together(plan, local_steps)

    @pytest.mark.parametrize("server_model", SERVER_MODELS[1:])
    def test_one_step_a_round_has_no_step_barrier(self, server_model: str) -> None:
        """Server copies and one server model are then the same."""
        if server_model == "shared-sequential" and self.chosen.divides_server:
            return  # refused, as above
        common = self.plan(*shared(5, 1, server_model))
        expected = self.plan(*shared(5, 1, "per-client"))
        if self.chosen.sharing is Sharing.ANY and server_model == "shared-sequential":
            # The order in which the server's model steps is a part of what is trained: one kind of schedule less.
            assert common.objective_s >= expected.objective_s * (1 - 1e-9)
            return
        assert common.clients == expected.clients
        assert common.round_latency_s == expected.round_latency_s


def shared(
    seed: int, local_steps: int, server_model: str, link_model: str = "fixed"
) -> tuple[Instance, SearchResult | None]:
    """Draw an instance of three clients, with all options and the bounds."""
    return _bounded(
        seed, num_clients=3, num_cuts=3, num_options=None, local_steps=local_steps, server_model=server_model,
        link_model=link_model,
    )  # fmt: skip


def check_figures(plan: Plan) -> None:
    """Check what the verifier, which has passed the plan, does not: all figures are numbers, and it survives JSON."""
    figures = (plan.objective_s, plan.round_latency_s, plan.lower_bound_s, plan.gap, plan.progress, plan.solve_s)
    assert all(math.isfinite(figure) and figure >= 0 for figure in figures)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def check_against_the_best(strategy: str | Strategy, instance: Instance, best: Plan, bounds: SearchResult) -> None:
    """Check one strategy's plan against the plan of ``optimal`` and the bounds; it may also have none under limits.

    Parameters
    ----------
    strategy
        The strategy.
    instance
        Where it plans.
    best, bounds
        The plan of ``optimal``, and the bounds, of this instance.
    """
    try:
        plan = make_plan(instance.scenario, instance.table, strategy, bounds=bounds)
    except InfeasibleError:
        return
    replayed_s = replay(plan, instance.scenario, num_rounds=1).round_latency_s[0]
    assert replayed_s == pytest.approx(plan.round_latency_s, rel=1e-9)
    if instance.scenario.objective.minimise == "energy":
        assert best.objective_j is not None
        assert plan.objective_j is not None
        assert best.objective_j <= plan.objective_j * (1 + 1e-9)
        return
    scale = plan.progress if instance.scenario.objective.minimise == "time-to-progress" else 1.0
    assert bounds.schedule_lower_bound_s <= replayed_s / scale * (1 + 1e-9)
    if isinstance(plan.schedule, Simultaneous):
        assert best.objective_s <= plan.objective_s * (1 + 1e-9)
        assert bounds.lower_bound_s <= replayed_s / scale * (1 + 1e-9)


def check_steps_end_together(plan: Plan, local_steps: int) -> None:
    """Check that a round of static shares is the sum of its slowest steps, and that clients wait for nothing else."""
    parts = [_parts_s(client, local_steps) for client in plan.clients]
    down_s, step_s, up_s = (np.array(part) for part in zip(*parts, strict=True))
    expected_s = (down_s + step_s + up_s).max()
    if local_steps > 1:
        expected_s = (down_s + step_s).max() + (local_steps - 2) * step_s.max() + (step_s + up_s).max()
    # Bytes that do not divide by the steps move a step's end by less than a byte's time.
    assert plan.round_latency_s == pytest.approx(expected_s, rel=1e-5)
    for client in plan.clients:
        waited_s = math.fsum(client.waiting_s.values())
        assert client.latency_s == pytest.approx(math.fsum(client.phases_s.values()) + waited_s, rel=1e-9)
        assert set(client.waiting_s) <= {Phase.BARRIER}
        assert (local_steps > 1) == bool(client.waiting_s)


def _parts_s(client: ClientPlan, local_steps: int) -> tuple[float, float, float]:
    """Download, mean step and upload of a client, from the figures a reader of the plan sees."""
    steps_s = math.fsum(
        client.phases_s[phase] for phase in (Phase.CLIENT_COMPUTE, Phase.UPLINK, Phase.SERVER_COMPUTE, Phase.DOWNLINK)
    )
    return client.phases_s[Phase.MODEL_DOWNLOAD], steps_s / local_steps, client.phases_s[Phase.MODEL_UPLOAD]


def _without_times(plan: Plan) -> dict[str, object]:
    return plan.model_dump(exclude={"compile_s", "solve_s"})


@cache
def _bounded(seed: int, **settings: Any) -> tuple[Instance, SearchResult | None]:
    """Draw an instance with its bounds, which are the same for all strategies; None where there are none."""
    instance = random_instance(seed, **settings)
    try:
        return instance, compute_bounds(instance.scenario, instance.table)
    except HybridSplitError:
        return instance, None


@cache
def _best(case: int) -> tuple[Instance, Plan, SearchResult]:
    """Draw an instance with its best plan and its bounds, which all strategies are held against."""
    limit: dict[str, Any] = {LIMITS[case % len(LIMITS)]: True} if case >= len(OBJECTIVES) else {}
    instance = random_instance(
        case, num_clients=1 + case % 4, num_options=None, num_cuts=3, link_model=("fixed", "shannon")[case % 2],
        minimise=OBJECTIVES[case % len(OBJECTIVES)], local_steps=2 + case % 2,
        server_model=SERVER_MODELS[case >= 6], **limit,
    )  # fmt: skip
    return instance, make_plan(instance.scenario, instance.table), compute_bounds(instance.scenario, instance.table)


@cache
def _edge(case: str) -> tuple[Instance, SearchResult | None]:
    """Build an instance with its bounds, None where no plan exists; link models and objectives alternate."""
    position = list(CASES).index(case)
    instance = CASES[case](("fixed", "shannon")[position % 2], OBJECTIVES[position % len(OBJECTIVES)])
    try:
        return instance, compute_bounds(instance.scenario, instance.table)
    except HybridSplitError:
        return instance, None
