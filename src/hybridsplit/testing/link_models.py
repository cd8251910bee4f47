"""What every link model must keep: one rate, whoever asks for it, and all that the solver does with it."""

from __future__ import annotations

from typing import Any, ClassVar

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridsplit.runtime.replay import replay
from hybridsplit.runtime.replay.links import uplink_rate_bps
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import LinkModel, Scenario
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.costs import AnySchedule, StaticShares, Work
from hybridsplit.solver.problem.links import UplinkWork, uplink_work
from hybridsplit.solver.verify.phases import uplink_bps
from hybridsplit.solver.verify.plan import verify_plan
from hybridsplit.testing.instances import group, make_scenario, make_table, random_rows

_SIZE = 64
_some_seeds = given(st.integers(0, 10_000))
# One method serves all subclasses, so that an example of one is no example of another: none is kept.
_few = settings(max_examples=20, deadline=None, database=None, suppress_health_check=[HealthCheck.differing_executors])
_OWN_MODES = ("fo", "zo-projection", "zo-loss")


class LinkModelContract:
    """Subclass it, and state a link and the radio around it.

    The rate rises with the share, is concave and 0 at 0; solver, verifier and replay agree about it; what the solver
    derives from it (the share for a duration and its derivatives, the cheapest division of a slack, the statement for
    cvxpy) is consistent with it; and a plan over such links replays to what was planned.
    """

    link: ClassVar[dict[str, Any]]
    """Keys under ``clients.link``."""
    radio: ClassVar[dict[str, Any]]
    """Keys under ``radio``: ``link_model`` at least."""

    def scenario(self, num_clients: int = 1) -> Scenario:
        """Return a scenario of clients with this link."""
        document = make_scenario([group("a", count=num_clients)]).resolved()
        document["radio"] |= self.radio
        document["clients"][0]["link"] = self.link
        return validate_scenario(document, "contract")

    def uplinks(self, seed: int) -> UplinkWork:
        """Draw [64] transfers: this link with bits over nine decades. Override it to draw links as well."""
        return self.transfers(10 ** np.random.default_rng(seed).uniform(0, 9, _SIZE))

    def transfers(self, bits: FloatArray) -> UplinkWork:
        """Return transfers of given bits over this link.

        Parameters
        ----------
        bits
            [K] bits.
        """
        scenario = self.scenario()
        return uplink_work(scenario.radio, scenario.expanded_clients(), np.zeros(len(bits), dtype=np.int64), bits)

    def test_the_rate_rises_with_the_share_and_is_concave(self) -> None:
        """And is 0 at 0: without these a plan can be neither bounded nor shared out."""
        scenario = self.scenario()
        link = scenario.expanded_clients()[0].link
        assert isinstance(link, LinkModel)
        assert link.uplink_bps(scenario.radio, 0.0) == 0.0
        shares = np.concatenate([np.geomspace(1e-6, 1e-2, 50), np.linspace(0.011, 1.0, 200)])
        rates = np.array([link.uplink_bps(scenario.radio, float(share)) for share in shares])
        assert np.isfinite(rates).all()
        assert (np.diff(rates, prepend=0.0) > 0).all()
        slopes = np.diff(rates, prepend=0.0) / np.diff(shares, prepend=0.0)
        assert (np.diff(slopes) <= 1e-9 * slopes[:-1]).all()

    def test_solver_verifier_and_replay_have_one_rate(self) -> None:
        """Each from its own formula, at shares of six decades."""
        scenario = self.scenario()
        client = scenario.expanded_clients()[0]
        assert isinstance(client.link, LinkModel)
        bits = np.array([1.0, 1e6])
        work = self.transfers(bits)
        for share in (1e-6, 1e-3, 0.1, 0.5, 1.0):
            rate = client.link.uplink_bps(scenario.radio, share)
            assert uplink_bps(client, scenario, share) == pytest.approx(rate, rel=1e-9)
            assert uplink_rate_bps(client.link, scenario.radio, share) == pytest.approx(rate, rel=1e-9)
            np.testing.assert_allclose(work.seconds(share), bits / rate, rtol=1e-9)

    def test_idle_transfers_take_no_time_and_no_share(self) -> None:
        """Nothing to carry costs nothing, at any price."""
        work = self.transfers(np.zeros(3))
        assert work.is_idle.all()
        assert (work.seconds(0.0) == 0).all()
        assert (np.stack(work.share_in(np.ones(3))) == 0).all()
        balance = work.balance(np.array(1.0), np.ones(3), np.ones(3))
        assert (balance.duration_s == 0).all()
        assert (balance.share == 0).all()
        busy = self.transfers(np.array([1e6, 0.0]))
        assert busy.is_idle.tolist() == [False, True]
        assert busy.seconds(0.0).tolist() == [np.inf, 0.0]

    @_few
    @_some_seeds
    def test_rows_can_be_taken(self, seed: int) -> None:
        """By an index and by a mask, as arrays."""
        work = self.uplinks(seed)
        index: IntArray = np.array([5, 3, 3])
        np.testing.assert_array_equal(work.take(index).seconds(0.3), work.seconds(0.3)[index])
        mask = np.arange(_SIZE) % 3 == 0
        np.testing.assert_array_equal(work.take(mask).seconds(0.3), work.seconds(0.3)[mask])

    def test_durations_fall_and_are_convex(self) -> None:
        """In the share."""
        work = self.uplinks(0)
        durations = np.stack([work.seconds(share) for share in np.linspace(0.01, 1, 100)])
        assert (np.diff(durations, axis=0) < 0).all()
        assert (np.diff(durations, n=2, axis=0) > -1e-9 * durations[1:-1]).all()

    @_few
    @_some_seeds
    def test_share_in_inverts_seconds(self, seed: int) -> None:
        """The share for a duration is the one that takes it."""
        work = self.uplinks(seed)
        share = 10 ** np.random.default_rng([seed, 2]).uniform(-5, 0, _SIZE)
        np.testing.assert_allclose(work.share_in(work.seconds(share))[0], share, rtol=1e-6)

    @_few
    @_some_seeds
    def test_derivatives_match_differences(self, seed: int) -> None:
        """First and second derivative of the share in the duration."""
        work = self.uplinks(seed)
        duration_s = work.seconds(10 ** np.random.default_rng([seed, 2]).uniform(-3, 0, _SIZE))
        step = duration_s * 1e-5
        above, below = work.share_in(duration_s + step), work.share_in(duration_s - step)
        _, first, second = work.share_in(duration_s)
        np.testing.assert_allclose((above[0] - below[0]) / (2 * step), first, rtol=2e-3)
        np.testing.assert_allclose((above[1] - below[1]) / (2 * step), second, rtol=2e-2)

    @_few
    @_some_seeds
    def test_the_balance_is_the_cheapest_division_of_a_slack(self, seed: int) -> None:
        """No duration of a fine grid is cheaper, and share and derivatives belong to the duration."""
        work, rng = self.uplinks(seed), np.random.default_rng([seed, 6])
        price, rest = 10 ** rng.uniform(-3, 0, _SIZE), 10 ** rng.uniform(-6, 3, _SIZE)
        slack_s = work.seconds(1.0) * (1 + 10 ** rng.uniform(-2, 2, _SIZE))
        found = work.balance(price, rest, slack_s)
        assert (found.duration_s < slack_s).all()
        value = price * found.share + rest / (slack_s - found.duration_s)
        for part in np.linspace(0.001, 0.999, 500):
            share = work.share_in(part * slack_s)[0]
            assert (price * share + rest / ((1 - part) * slack_s) >= value * (1 - 1e-8)).all()
        for given_, own in zip(found[1:], work.share_in(found.duration_s), strict=True):
            np.testing.assert_allclose(given_, own, rtol=1e-5)

    @_few
    @_some_seeds
    def test_cvxpy_is_told_the_same(self, seed: int) -> None:
        """The expression is convex by cvxpy's rules, and its value is the duration."""
        rng = np.random.default_rng([seed, 7])
        work = self.transfers(10 ** rng.uniform(3, 7, 5))
        per_whole = float(rng.uniform(1, 100))
        unit_s = float(work.seconds(1.0).mean())
        share = cp.Variable(5, pos=True)
        expression = work.expression(cp, share, per_whole, unit_s)
        assert expression.is_convex()
        assert expression.is_dcp()
        share.value = per_whole * 10 ** rng.uniform(-3, 0, 5)
        np.testing.assert_allclose(expression.value * unit_s, work.seconds(share.value / per_whole), rtol=1e-6)

    @_few
    @_some_seeds
    def test_priced_cost_is_the_cheapest_way_to_be_in_time(self, seed: int) -> None:
        """With the other resources priced as well; any schedule costs no more than static shares."""
        work, rng = self._priced(seed), np.random.default_rng([seed, 3])
        prices = 10 ** rng.uniform(-3, 0, 3)
        deadline_s = work.latency_s(1.0) * rng.uniform(1.01, 50, _SIZE)
        priced = StaticShares().price(work, prices, deadline_s, curvature=True)
        shares = np.stack(priced.usage, axis=-1)
        assert (work.latency_s(shares) <= deadline_s * (1 + 1e-9)).all()
        np.testing.assert_allclose(shares @ prices, priced.value, rtol=1e-9)
        assert (AnySchedule().price(work, prices, deadline_s).value <= priced.value * (1 + 1e-9)).all()
        for _ in range(10):
            # Any other shares that are in time cost at least as much.
            other = shares * 10 ** rng.normal(0, 0.2, shares.shape)
            grown = other[None] * np.linspace(1, 12, 200)[:, None, None]
            in_time = work.latency_s(grown) <= deadline_s
            cost = np.where(in_time, grown @ prices, np.inf).min(axis=0)
            assert (cost >= priced.value * (1 - 1e-9)).all()

    @_few
    @_some_seeds
    def test_cost_derivatives_match_differences(self, seed: int) -> None:
        """In the prices, twice, and in the deadline."""
        work, rng = self._priced(seed), np.random.default_rng([seed, 5])
        prices = 10 ** rng.uniform(-1, 0, 3)
        deadline_s = work.latency_s(1.0) * rng.uniform(1.5, 20, _SIZE)
        priced = StaticShares().price(work, prices, deadline_s, curvature=True)
        order = {(0, 0): 0, (0, 1): 1, (0, 2): 2, (1, 1): 3, (1, 2): 4, (2, 2): 5}
        for r in range(3):
            step = 1e-5 * prices[r] * np.eye(3)[r]
            above, below = (StaticShares().price(work, prices + s * step, deadline_s) for s in (1, -1))
            difference = (above.value - below.value) / (2 * step[r])
            assert np.all(np.abs(difference - priced.usage[r]) <= 1e-6 * (priced.usage[r] + priced.value / prices[r]))
            for q in range(3):
                second = (above.usage[q] - below.usage[q]) / (2 * step[r])
                exact = priced.curvature[order[min(r, q), max(r, q)]]
                assert np.all(np.abs(second - exact) <= 1e-3 * (np.abs(exact) + priced.usage[q] / prices[r]))
        step_s = 1e-6 * (deadline_s - work.compute_s)
        later, sooner = (StaticShares().price(work, prices, deadline_s + s * step_s).value for s in (1, -1))
        np.testing.assert_allclose((later - sooner) / (2 * step_s), priced.slope, rtol=1e-4)

    def test_a_plan_replays_to_what_was_planned(self) -> None:
        """Three clients with this link, planned with constant shares and verified."""
        scenario = self.scenario(num_clients=3)
        rows = [
            row | {"client": client.id}
            for index, client in enumerate(scenario.expanded_clients())
            for row in random_rows("", 3, _OWN_MODES, np.random.default_rng(index))
        ]
        table = make_table(scenario, rows)
        plan = make_plan(scenario, table, "static")
        verify_plan(plan, scenario, table)
        assert plan.gap < 0.05
        replayed_s = replay(plan, scenario, num_rounds=1).round_latency_s[0]
        assert replayed_s == pytest.approx(plan.round_latency_s, rel=1e-9)

    def _priced(self, seed: int) -> Work:
        """Draw [64] rows with these transfers, and with downloads and work of other resources in most of them."""
        rng = np.random.default_rng([seed, 1])
        present = [rng.random(_SIZE) < 0.8 for _ in range(3)]
        return Work(
            10 ** rng.uniform(-3, 3, _SIZE) * present[0],
            self.uplinks(seed),
            10 ** rng.uniform(-3, 3, _SIZE) * present[1],
            10 ** rng.uniform(-3, 3, _SIZE) * present[2],
        )
