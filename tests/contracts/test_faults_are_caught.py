"""Each contract fails where something does not keep it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hybridsplit.runtime.data import sources
from hybridsplit.runtime.estimators.fo import FirstOrder
from hybridsplit.runtime.estimators.zo_projection import ZerothOrderProjection
from hybridsplit.scenarios.errors import SolverFailure
from hybridsplit.scenarios.modes import Asks, Gradient, StepBytes, TrainingMode
from hybridsplit.scenarios.modes.fo import FirstOrderMode
from hybridsplit.scenarios.modes.frozen import FrozenMode
from hybridsplit.scenarios.sections.data import Digits, SyntheticTokens
from hybridsplit.scenarios.sections.network import FixedLink
from hybridsplit.solver.problem.links import FixedUplink
from hybridsplit.solver.strategies import Proposal, Strategy
from hybridsplit.testing import DataSourceContract, LinkModelContract, ModeContract, StrategyContract
from hybridsplit.testing.modes import _round


class Fo(ModeContract):
    mode = "fo"


class Frozen(ModeContract):
    mode = "frozen"


class Projection(ModeContract):
    mode = "zo-projection"


@pytest.fixture
def patch(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Faults are in place while a round is played; no round of theirs is kept."""
    _round.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    _round.cache_clear()


FACTS: list[tuple[type[TrainingMode], dict[str, Any], ModeContract, str, tuple[Any, ...]]] = [
    (
        FirstOrderMode,
        {"step_bytes": lambda self, sizes, zeroth_order, client_trains: StepBytes(sizes.smashed, sizes.smashed)},
        Fo(), "test_bytes_on_air_are_those_it_states", ("resnet", 2),
    ),
    (
        FirstOrderMode, {"gradient": Gradient.NONE},
        Fo(), "test_the_client_part_moves_exactly_where_it_is_trained", ("resnet", 1),
    ),
    (
        FrozenMode, {"gradient": Gradient.EXACT},
        Frozen(), "test_the_client_part_moves_exactly_where_it_is_trained", ("resnet", 1),
    ),
    (FirstOrderMode, {"asks": Asks.NOTHING}, Fo(), "test_it_asks_the_server_for_what_it_states", ("bert",)),
    (FrozenMode, {"asks": Asks.GRADIENT}, Frozen(), "test_it_asks_the_server_for_what_it_states", ("bert",)),
    (
        FirstOrderMode, {"reliability": lambda self, zeroth_order, num_trainable: 1.5},
        Fo(), "test_reliability_is_a_squared_cosine", (),
    ),
    (
        FirstOrderMode, {"client_step_s": lambda self, passes, cut, zeroth_order, forwards=None: 0.0},
        Fo(), "test_costs_are_finite_and_positive_in_an_option_table", (),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "facts", "contract", "check", "arguments"), FACTS)
def test_facts_that_are_wrong(
    patch: pytest.MonkeyPatch,
    kind: type[TrainingMode],
    facts: dict[str, Any],
    contract: ModeContract,
    check: str,
    arguments: tuple[Any, ...],
) -> None:
    getattr(contract, check)(*arguments)
    _round.cache_clear()
    for name, value in facts.items():
        patch.setattr(kind, name, value)
    with pytest.raises(AssertionError):
        getattr(contract, check)(*arguments)


def test_an_estimator_that_draws_without_its_key(patch: pytest.MonkeyPatch) -> None:
    step = FirstOrder.step

    def drawn(self: FirstOrder, *arguments: Any) -> Any:
        result = step(self, *arguments)
        with torch.no_grad():
            for _, parameter in self.part.trainable():
                parameter.add_(torch.randn_like(parameter), alpha=1e-3)
        return result

    patch.setattr(FirstOrder, "step", drawn)
    with pytest.raises(AssertionError):
        Fo().test_the_same_seed_gives_the_same_bits("resnet")


def test_an_estimator_whose_steps_are_not_those_of_its_scalars(patch: pytest.MonkeyPatch) -> None:
    step = ZerothOrderProjection.step

    def decayed(self: ZerothOrderProjection, *arguments: Any) -> Any:
        result = step(self, *arguments)
        with torch.no_grad():
            for _, parameter in self.part.trainable():
                parameter.mul_(0.999)
        return result

    patch.setattr(ZerothOrderProjection, "step", decayed)
    with pytest.raises(AssertionError):
        Projection().test_the_server_knows_the_clients_weights_to_the_bit("resnet", 2)


def test_an_estimator_that_keeps_what_shapes_do_not_show(patch: pytest.MonkeyPatch) -> None:
    step = FirstOrder.step

    def keeps(self: FirstOrder, batch: Any, *arguments: Any) -> Any:
        if not batch.inputs.is_meta:
            self.kept = torch.zeros(10_000)  # type: ignore[attr-defined]
        return step(self, batch, *arguments)

    patch.setattr(FirstOrder, "step", keeps)
    with pytest.raises(AssertionError):
        Fo().test_the_predicted_peak_is_the_measured_one("resnet", 2)


class Fickle(Strategy):
    """Shares out by turns."""

    name = "fickle"
    summary = "of a test"
    calls = 0

    def propose(self, problem: Any, effort: Any) -> Proposal:
        self.calls += 1
        return Proposal(problem.starts, equal_shares=self.calls % 2 == 0, reason="by turns")


class Greedier(Strategy):
    """Gives everybody everything."""

    name = "greedier"
    summary = "of a test"

    def propose(self, problem: Any, effort: Any) -> Proposal:
        return Proposal(problem.starts, shares=np.ones((problem.num_clients, 3)), reason="all of it")


def test_a_strategy_that_does_not_repeat() -> None:
    contract = type("Contract", (StrategyContract,), {"strategy": Fickle()})()
    with pytest.raises(AssertionError):
        contract.test_plans_are_feasible_bounded_and_repeat("fixed", "time-to-progress", False)


def test_a_strategy_that_gives_more_than_there_is() -> None:
    contract = type("Contract", (StrategyContract,), {"strategy": Greedier()})()
    with pytest.raises(SolverFailure, match="greedier"):
        contract.test_plans_are_feasible_bounded_and_repeat("fixed", "time-to-progress", False)


class TheDigits(DataSourceContract):
    section = {"source": "digits"}


class TheTokens(DataSourceContract):
    section = {"source": "synthetic-tokens", "num_samples": 256}


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda s: replace(s, labels=s.labels + 1), "test_samples_are_what_the_section_states"),
        (lambda s: replace(s, inputs=s.inputs[..., :-1]), "test_a_batch_is_what_the_profiler_traces"),
        (lambda s: replace(s, inputs=s.inputs + torch.rand(())), "test_the_same_seed_gives_the_same_samples"),
    ],
    ids=["labels", "size", "seed"],
)
def test_samples_that_are_not_as_stated(patch: pytest.MonkeyPatch, tmp_path: Path, change: Any, check: str) -> None:
    load = sources.load_digits

    def other(data: Digits, scenario: Any) -> Any:
        samples, num_classes = load(data, scenario)
        return change(samples), num_classes

    patch.setattr(sources, "load_digits", other)
    with pytest.raises(AssertionError):
        getattr(TheDigits(), check)(tmp_path)


def test_a_mask_that_is_not_stated(patch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    patch.setattr(SyntheticTokens, "is_padded", True)
    with pytest.raises(AssertionError):
        TheTokens().test_a_batch_is_what_the_profiler_traces(tmp_path)


class Fixed(LinkModelContract):
    link = {"uplink_bps_per_hz": 2.0, "downlink_bps_per_hz": 4.0}
    radio = {"link_model": "fixed", "uplink_hz": "5 MHz"}


@pytest.mark.parametrize(
    ("rate", "check"),
    [
        (lambda self, radio, share: 1.8 * share * radio.uplink_hz, "test_solver_verifier_and_replay_have_one_rate"),
        (lambda self, radio, share: share**2 * 1e7, "test_the_rate_rises_with_the_share_and_is_concave"),
        (lambda self, radio, share: 1e6, "test_the_rate_rises_with_the_share_and_is_concave"),
    ],
    ids=["lower", "convex", "constant"],
)
def test_rates_that_are_not_one_or_not_concave(patch: pytest.MonkeyPatch, rate: Any, check: str) -> None:
    patch.setattr(FixedLink, "uplink_bps", rate)
    with pytest.raises(AssertionError):
        getattr(Fixed(), check)()


def test_work_that_is_not_consistent(patch: pytest.MonkeyPatch) -> None:
    balance, share_in = FixedUplink.balance, FixedUplink.share_in

    def wasteful(self: FixedUplink, price: Any, rest: Any, slack_s: Any) -> Any:
        found = balance(self, price, rest, slack_s)
        duration_s = 0.9 * found.duration_s
        return found._replace(duration_s=duration_s, share=share_in(self, duration_s)[0])

    patch.setattr(FixedUplink, "balance", wasteful)
    with pytest.raises(AssertionError):
        Fixed().test_the_balance_is_the_cheapest_division_of_a_slack()
    patch.setattr(FixedUplink, "expression", lambda self, cp, share, per_whole, unit_s: cp.inv_pos(share))
    with pytest.raises(AssertionError):
        Fixed().test_cvxpy_is_told_the_same()
