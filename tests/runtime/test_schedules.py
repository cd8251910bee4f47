"""Learning rates by round, and who takes part."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridsplit.runtime.data.participation import participants
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.run.rounds import train
from hybridsplit.runtime.split.learning_rates import learning_rate_factor, training_at_round
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import LearningRateSchedule

schedules = st.builds(
    LearningRateSchedule,
    shape=st.sampled_from(["constant", "linear", "cosine"]),
    warmup_rounds=st.integers(0, 10),
    final_fraction=st.floats(0, 1),
)


@given(schedules, st.integers(1, 50))
def test_factors_rise_over_the_warm_up_and_fall_to_the_final_fraction(
    schedule: LearningRateSchedule, num_rounds: int
) -> None:
    factors = [learning_rate_factor(schedule, r, num_rounds) for r in range(num_rounds + 20)]
    assert all(0 <= factor <= 1 + 1e-12 for factor in factors)
    rising, falling = factors[: schedule.warmup_rounds + 1], factors[schedule.warmup_rounds :]
    assert rising == sorted(rising)
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(falling))
    assert factors[schedule.warmup_rounds] == 1.0
    if schedule.shape != "constant" and num_rounds - 1 > schedule.warmup_rounds:
        assert factors[num_rounds - 1] == pytest.approx(schedule.final_fraction)
        assert factors[-1] == pytest.approx(schedule.final_fraction)


def test_all_learning_rates_follow_the_schedule() -> None:
    scenario = load_scenario(
        "quickstart",
        ["training.learning_rate_schedule={shape: linear}", "training.rounds=5",
         "training.server_optimizer={name: sgd, learning_rate: 0.5}"],
    )  # fmt: skip
    middle = training_at_round(scenario.training, 2)
    assert middle.optimizer.learning_rate == pytest.approx(scenario.training.optimizer.learning_rate / 2)
    assert middle.server_optimizer is not None
    assert middle.server_optimizer.learning_rate == pytest.approx(0.25)
    estimated = scenario.training.zeroth_order.optimizer.learning_rate
    assert middle.zeroth_order.optimizer.learning_rate == pytest.approx(estimated / 2)
    assert training_at_round(scenario.training, 0) == scenario.training


@given(st.integers(1, 40), st.floats(0.01, 1), st.integers(0, 5))
def test_as_many_take_part_as_the_fraction_says(num_clients: int, fraction: float, round_index: int) -> None:
    clients = [f"c{i}" for i in range(num_clients)]
    chosen = participants(clients, fraction, 7, round_index)
    assert len(chosen) == max(1, round(fraction * num_clients))
    assert list(chosen) == [client for client in clients if client in set(chosen)]
    assert chosen == participants(clients, fraction, 7, round_index)


def test_everybody_is_drawn_as_often() -> None:
    clients = [f"c{i}" for i in range(10)]
    counts = Counter(client for r in range(3000) for client in participants(clients, 0.3, 1, r))
    assert all(count == pytest.approx(900, rel=0.1) for count in counts.values())


def test_only_participants_train_and_are_counted() -> None:
    scenario = load_scenario("quickstart", ["training.participation=0.5", "training.local_steps=1"])
    assignments = [
        Assignment(
            c.id, Placement(cut=2, mode=Mode.FO, batch_size=scenario.training.batch_size), c.data_weight, 1 << 30
        )
        for c in scenario.expanded_clients()
    ]
    clients = [a.client for a in assignments]
    with InlineExecutor(scenario) as executor:
        result = train(scenario, assignments, executor, [1.0, 2.0, 3.0])
    for round_index in range(3):
        expected = set(participants(clients, 0.5, scenario.seed, round_index))
        assert {record.client for record in result.clients if record.round == round_index} == expected
        table = result.measured.table
        assert set(table["client"][table["round"] == round_index]) == expected
