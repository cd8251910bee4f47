"""The model of rounds to a target: its identities, where a curve crosses, and what a fit can and cannot tell."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.orchestrator.studies.pilot_design import plan_terms
from hybridsplit.profiler.options import block_costs, profile_scenario, profiled_model
from hybridsplit.profiler.rounds_fit import Observation, RoundsModel, fit_rounds, held_out_error
from hybridsplit.profiler.rounds_to import rounds_to
from hybridsplit.profiler.target_gain import Terms, terms_of
from hybridsplit.scenarios.errors import ProfileError, ScenarioError
from hybridsplit.scenarios.loader import load_scenario, validate_scenario
from hybridsplit.scenarios.sections.pilot import CONSTANTS

ASSUMED = "objective.gradient_split=assumed"
FROZEN = "training.modes=[fo,zo-projection,frozen]"
constants = st.tuples(*[st.floats(0, 2)] * len(CONSTANTS))


def terms_at(*overrides: str, drift: float = 0.0, skew: float = 0.0) -> tuple[Any, Terms]:
    scenario = load_scenario("quickstart", [ASSUMED, FROZEN, *overrides])
    table = profile_scenario(scenario).table
    costs: Any = block_costs(profiled_model(scenario))
    spread = dict.fromkeys(table["client"].unique(), drift)
    return table, terms_of(table, scenario, costs, spread, dict.fromkeys(table["client"].unique(), skew))


def rows_with(table: Any, mode: str, cut: int = 3) -> list[int]:
    """Return one row of every client."""
    chosen = table[(table["mode"] == mode) & (table["cut"] == cut)]
    return [chosen.index[chosen["client"] == client][0] for client in table["client"].unique()]


def test_terms_vanish_where_nothing_is_in_the_way() -> None:
    """``ζ = 0`` and exact gradients everywhere: batch noise alone is left, and falls to nothing as batches grow."""
    table, terms = terms_at()
    noise, *others = plan_terms(terms, rows_with(table, "fo"))
    assert others == [0.0] * 6
    assert noise == pytest.approx(1 / (6 * 32))
    assert RoundsModel(7.0, (0.0,) * 7, ()).predict([noise, *others]) == 7.0


def test_doubling_every_batch_halves_the_noise() -> None:
    _, terms = terms_at()
    _, doubled = terms_at("training.batch_size=64")
    assert doubled.batch_noise.sum() * 2 == pytest.approx(terms.batch_noise.sum())


def test_drift_needs_data_that_differ_and_a_part_of_its_own() -> None:
    table, same = terms_at()
    assert not same.drift.any()
    _, own = terms_at(drift=0.5)
    assert own.drift == pytest.approx(0.5 * own.weight)  # with a server copy each, whatever the cut
    _, shared = terms_at("training.server_model=shared-mean", drift=0.5)
    by_cut = table.assign(drift=shared.drift).groupby("cut")["drift"].mean()
    assert by_cut.is_monotonic_increasing
    assert by_cut.iloc[0] < 0.1 * by_cut.iloc[-1]


def test_missing_labels_need_data_that_differ_and_clients_that_do_not_train() -> None:
    table, same = terms_at()
    assert not same.untrained_skew.any()
    _, unlike = terms_at(skew=0.4)
    assert unlike.untrained_skew == pytest.approx(0.4 * unlike.untrained_clients)
    assert plan_terms(unlike, rows_with(table, "fo"))[5] == 0.0  # all labels are behind every block
    some = [*rows_with(table, "fo")[:3], *rows_with(table, "frozen")[3:]]
    assert plan_terms(unlike, some)[5] == pytest.approx(plan_terms(unlike, rows_with(table, "frozen"))[5] / 2)


def test_one_exact_client_is_enough_for_the_blocks_of_all() -> None:
    table, terms = terms_at()
    frozen = rows_with(table, "frozen")
    _, untrained, blocks, *_ = plan_terms(terms, frozen)
    assert blocks == pytest.approx(terms.block_share[:3].sum())
    exact = [rows_with(table, "fo")[0], *frozen[1:]]
    _, fewer, none, *_ = plan_terms(terms, exact)
    assert none == 0.0
    assert fewer == pytest.approx(untrained * 5 / 6)


def test_noise_weighs_more_above_blocks_that_nobody_trains() -> None:
    table, terms = terms_at()
    frozen = rows_with(table, "frozen")
    assert plan_terms(terms, frozen)[6] == pytest.approx(3 / 7 / (6 * 32))  # three of seven blocks, six batches of 32
    assert plan_terms(terms, [rows_with(table, "fo")[0], *frozen[1:]])[6] == 0.0


def test_averaging_divides_the_noise_of_estimates_by_their_number() -> None:
    table, terms = terms_at()
    estimates = rows_with(table, "zo-projection")
    noise = plan_terms(terms, estimates)[3]
    alone = float(terms.estimate_noise[estimates[0]] / terms.weight[estimates[0]] ** 2)
    assert noise == pytest.approx(alone / len(estimates))
    # Where somebody trains the blocks exactly, the weights of the estimates leave next to nothing of their noise.
    assert plan_terms(terms, [rows_with(table, "fo")[0], *estimates[1:]])[3] == 0.0


@given(constants, st.lists(st.tuples(*[st.floats(0, 0.05)] * 7), min_size=1, max_size=8), st.floats(0.5, 50))
@settings(deadline=None)
def test_a_client_of_positive_gain_never_raises_the_rounds(
    given_constants: tuple[float, ...], clients: list[tuple[float, ...]], rounds: float
) -> None:
    """Rounds are ``(1 + D/G)/G``; on the tangent at a plan its gain is a sum, and one of more gain has fewer rounds."""
    weight = 1.0 / len(clients)
    delays = [sum(c * t for c, t in zip(given_constants, own, strict=True)) / rounds for own in clients]
    total = [math.fsum(own[k] for own in clients) for k in range(7)]
    gain, delay = math.fsum([weight / rounds] * len(clients)), math.fsum(delays)
    predicted = RoundsModel(rounds, given_constants, ()).predict(total)
    assert predicted == pytest.approx((1 + delay / gain) / gain, rel=1e-6)
    level = delay / gain
    tangent = [(weight / rounds * (1 + 2 * level) - own) / (1 + level) ** 2 for own in delays]
    assert math.fsum(tangent) == pytest.approx(1.0 / predicted, rel=1e-6)
    for own in delays:
        less_gain, less_delay = gain - weight / rounds, delay - own
        if weight / rounds * (1 + 2 * level) - own > 0 and less_gain > 1e-9:
            # Whoever adds to the tangent adds to what the others gain without it, the curve being convex.
            others = less_gain / (1 + less_delay / less_gain)
            at_others = less_delay / less_gain
            adds = (weight / rounds * (1 + 2 * at_others) - own) / (1 + at_others) ** 2
            assert 1.0 / predicted >= others + adds - 1e-12


@given(st.floats(1, 40), constants, st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25)
def test_a_fit_to_the_model_itself_gives_its_predictions_back(
    rounds: float, true: tuple[float, ...], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    model = RoundsModel(rounds, tuple(0.3 * value for value in true), ())
    all_terms = [tuple(rng.uniform(0, 0.2, 7).tolist()) for _ in range(14)]
    observations = [Observation(terms, model.predict(terms), 100) for terms in all_terms]
    fitted = fit_rounds(observations, shrinkage=0.0)
    for one in observations:
        assert fitted.predict(one.terms) == pytest.approx(one.rounds, rel=2e-2)


def test_a_term_that_never_varies_is_not_identified() -> None:
    observations = [Observation((0.01 * k, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0), 5.0 * (1 + 0.02 * k), 30) for k in range(5)]
    fitted = fit_rounds(observations, shrinkage=0.0)
    assert set(fitted.not_identified) == {
        "untrained_clients",
        "untrained_blocks",
        "estimate_noise",
        "drift",
        "untrained_skew",
        "untrained_noise",
    }
    assert fitted.constants[0] == pytest.approx(2.0, rel=1e-2)
    assert fitted.rounds == pytest.approx(5.0, rel=1e-2)
    assert held_out_error(observations) is None  # no checks among them
    right = Observation((0.02, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0), 5.0 * (1 + 0.04), 30, is_check=True)
    error = held_out_error([*observations, right])
    assert error is not None
    assert error < 0.05  # shrunken constants
    wrong = Observation((0.02, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0), 10.0 * (1 + 0.04), 30, is_check=True)
    assert held_out_error([*observations, wrong]) == pytest.approx(0.5, abs=0.05)


def test_a_pilot_that_never_reached_the_target_bounds_the_constants() -> None:
    """Its rounds are unknown and at least those it ran."""
    known = [Observation((0.001 * k, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), 5.0, 30) for k in range(3)]
    fitted = fit_rounds([*known, Observation((0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), math.inf, 30)], shrinkage=0.0)
    assert fitted.predict((0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)) >= 29
    assert fitted.predict((0.0,) * 7) == pytest.approx(5.0, rel=0.05)


@given(st.floats(1.2, 4.0), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_too_many_rounds_weigh_as_much_as_too_few(factor: float, seed: int) -> None:
    """Of two pilots with the same terms that differ by a factor, the fit takes the geometric mean."""
    rounds = float(np.random.default_rng(seed).uniform(2, 30))
    pair = [Observation((0.0,) * 7, rounds * factor, 200), Observation((0.0,) * 7, rounds / factor, 200)]
    assert fit_rounds([*pair, *pair]).predict((0.0,) * 7) == pytest.approx(rounds, rel=1e-3)


def test_runs_of_a_check_at_several_seeds_are_one_check() -> None:
    known = [Observation((0.0,) * 7, 5.0, 30, pilot=k) for k in range(3)]
    pair = [Observation((0.0,) * 7, rounds, 30, is_check=True, pilot=3) for rounds in (2.5, 10.0)]
    assert held_out_error([*known, *pair]) == pytest.approx(0.0, abs=1e-3)
    apart = [Observation(one.terms, one.rounds, 30, is_check=True, pilot=k) for k, one in enumerate(pair)]
    assert held_out_error([*known, *apart]) == pytest.approx(0.75, abs=1e-2)


def test_too_few_pilots_give_a_reason() -> None:
    with pytest.raises(ProfileError, match="needs 3 that reach it"):
        fit_rounds([Observation((0.0,) * 7, 5.0, 30)] * 2)
    with pytest.raises(ProfileError, match="of which 0 reached"):
        fit_rounds([Observation((0.0,) * 7, math.inf, 30)] * 4)
    assert held_out_error([Observation((0.0,) * 7, 5.0, 30)] * 3) is None


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.floats(0.05, 0.95))
def test_what_reaches_a_target_reached_a_lower_one_within_its_rounds(values: list[float], target: float) -> None:
    low, high = rounds_to(values, 0.9 * target, rising=True), rounds_to(values, target, rising=True)
    assert low >= 1.0
    if math.isfinite(high):
        assert math.isfinite(low)
        assert high <= len(values)


def test_crossings_lie_between_rounds() -> None:
    assert rounds_to([0.2, 0.4, 0.6, 0.8, 0.8], 0.5, rising=True) == pytest.approx(2.5)
    assert rounds_to([2.0, 1.0, 0.5, 0.5], 0.75, rising=False) == pytest.approx(2.5)
    assert rounds_to([0.9, 0.9], 0.5, rising=True) == 1.0
    # One lucky round is not enough, and what falls after it is averaged with it.
    assert rounds_to([0.2, 0.9, 0.2, 0.2], 0.8, rising=True) == math.inf
    assert rounds_to([0.2, 0.9, 0.3, 0.9, 0.9], 0.8, rising=True) == pytest.approx(3 + 0.2 / 0.3)


def test_gains_of_a_table_are_those_of_the_terms() -> None:
    scenario = load_scenario("quickstart", [ASSUMED, FROZEN])
    document = scenario.resolved()
    share = profiled_model(scenario)
    costs: Any = block_costs(share)
    total = sum(cost.num_trainable for cost in costs)
    skew = {client.id: 0.1 * place for place, client in enumerate(scenario.expanded_clients())}
    pilot = {
        "formula": 2, "target_accuracy": 0.9,
        "rounds": 4.0, "batch_noise": 8.0, "untrained_clients": 0.2, "estimate_noise": 1e-4,
        "untrained_skew": 0.5, "client_skew": skew, "held_out_error": 0.1, "num_pilots": 8, "untrained_noise": 2.0,
        "block_share": [cost.num_trainable / total for cost in costs],
    }  # fmt: skip
    document["objective"] |= {"minimise": "time-to-target", "pilot": pilot}
    table = profile_scenario(validate_scenario(document, "test")).table
    terms = terms_of(table, scenario, costs, {}, skew)
    expected = 8.0 * terms.batch_noise + 0.2 * terms.untrained_clients + 0.5 * terms.untrained_skew
    assert expected.max() > 0.2 * terms.untrained_clients.max()
    assert table["gain"].to_numpy() == pytest.approx(terms.weight / 4.0)
    assert table["delay"].to_numpy() == pytest.approx(expected / 4.0)
    assert table["noise_delay"].to_numpy() == pytest.approx(2.0 * terms.batch_noise / 4.0)
    assert (table["estimate_delay"].to_numpy() > 0).sum() == table["mode"].str.startswith("zo").sum()
    document["objective"]["pilot"] = pilot | {"held_out_error": 0.5}
    poor = profile_scenario(validate_scenario(document, "test")).table
    assert not poor["delay"].any()
    assert poor["gain"].to_numpy() == pytest.approx((poor["data_weight"] * poor["progress"] / 4.0).to_numpy())
    document["objective"]["pilot"] = pilot | {"block_share": [0.5, 0.5]}
    with pytest.raises(ScenarioError, match=r"block_share: found 2 shares, and the model has \d+ blocks"):
        profile_scenario(validate_scenario(document, "test"))
