"""What every training mode must keep: its facts are what its estimator does."""

from __future__ import annotations

import math
from functools import cache
from typing import ClassVar

import numpy as np
import pytest
import torch

from hybridsplit.profiler.memory import client_memory
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.estimators import GradientEstimator, estimator_of
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.run.rounds import train
from hybridsplit.scenarios.contracts.assignment import assignments_of
from hybridsplit.scenarios.contracts.ledger import Source
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.modes import MODES, Asks, Gradient, TrainingMode
from hybridsplit.scenarios.schema import ZerothOrder
from hybridsplit.solver.planner import make_plan
from hybridsplit.testing.played_rounds import DIRECTIONS, STEPS, Played, play, scenario_with, traced_with

_FAMILIES = ("bert", "opt-causal", "resnet")
"""Padded text with an embedding, text whose labels are its tokens, and images with BatchNorm."""
_CUTS = (1, 2, "all")

every_family = pytest.mark.parametrize("family", _FAMILIES)
every_cut = pytest.mark.parametrize("cut", _CUTS)


class ModeContract:
    """Subclass it, and state which mode is meant.

    On tiny models with few and with all blocks on the client: bytes and memory are what the facts say, the client part
    moves exactly where it is trained, λ is revealed to no mode that does not ask for it, the same seed gives the same
    bits, replaying an estimate gives the client's weights to the bit, and a plan of this mode alone trains.
    """

    mode: ClassVar[str]
    """Name of a registered mode."""

    @property
    def facts(self) -> TrainingMode:
        """What the mode states."""
        return MODES[self.mode]

    def round_of(self, family: str, cut: int | str) -> Played | None:
        """Train one client for a round; None where the mode does not exist at the cut."""
        return None if cut == "all" and not self.facts.runs_whole_model else _round(self.mode, family, cut)

    def test_states_what_it_is(self) -> None:
        """A name, one sentence, a letter, and an estimator that can be imported."""
        facts = self.facts
        assert facts.name == self.mode
        assert facts.summary
        assert "\n" not in facts.summary
        assert len(facts.letter) == 1
        assert facts.colour.startswith("#")
        kind = estimator_of(facts)
        assert isinstance(kind, type)
        assert issubclass(kind, GradientEstimator)
        assert isinstance(kind.keeps_batch_statistics, bool)

    def test_reliability_is_a_squared_cosine(self) -> None:
        """In [0, 1], 0 where nothing is trained, and no better in more dimensions."""
        settings = ZerothOrder(directions=DIRECTIONS)
        found = [self.facts.reliability(settings, dimension) for dimension in (1, 10, 1000)]
        assert all(0.0 <= value <= 1.0 for value in found)
        assert found == sorted(found, reverse=True)
        assert (found[-1] > 0) == (self.facts.gradient is not Gradient.NONE)

    @every_family
    @every_cut
    def test_bytes_on_air_are_those_it_states(self, family: str, cut: int | str) -> None:
        """From the tensors that crossed: every step, and the exchange of the client part."""
        played = self.round_of(family, cut)
        if played is None:
            return
        counted = played.report.bytes_by_phase
        settings = played.scenario.training.zeroth_order
        if cut == "all":
            expected = self.facts.bytes_without_server(played.sizes, settings)
        else:
            expected = self.facts.step_bytes(played.sizes, settings, client_trains=True)
        weights = sum(tensor.nbytes for tensor in played.part_of(played.start).values())
        assert counted.get(Phase.UPLINK, 0) == STEPS * expected.uplink
        assert counted.get(Phase.DOWNLINK, 0) == STEPS * expected.downlink
        assert counted[Phase.MODEL_DOWNLOAD] == weights
        upload = self.facts.model_upload_bytes(weights, played.sizes, settings, STEPS)
        assert counted.get(Phase.MODEL_UPLOAD, 0) == upload
        assert upload == weights or not self.facts.uploads_weights

    @every_family
    @every_cut
    def test_the_predicted_peak_is_the_measured_one(self, family: str, cut: int | str) -> None:
        """Shapes against the round, within 0.1 % and 256 bytes."""
        played = self.round_of(family, cut)
        if played is None:
            return
        predicted = client_memory(played.traced, played.scenario, played.cut, self.mode).peak_bytes
        assert predicted == pytest.approx(played.report.peak_bytes, rel=1e-3, abs=256)

    @every_family
    @every_cut
    def test_the_client_part_moves_exactly_where_it_is_trained(self, family: str, cut: int | str) -> None:
        """And stays as it is, buffers included, where the gradient is NONE; the server part is trained always."""
        played = self.round_of(family, cut)
        if played is None:
            return
        moved = {name for name, tensor in played.state.items() if not torch.equal(tensor, played.start[name])}
        of_client = moved & set(played.part_of(played.start))
        assert bool(of_client) == (self.facts.gradient is not Gradient.NONE)
        assert cut == "all" or bool(moved - of_client)
        assert math.isfinite(played.report.train_loss)
        if not estimator_of(self.facts).keeps_batch_statistics:  # type: ignore[attr-defined]
            assert not {name for name in of_client if "running" in name}

    @every_family
    def test_it_asks_the_server_for_what_it_states(self, family: str) -> None:
        """λ only where it asks for the gradient, losses only where it asks for losses, and one training a step."""
        played = self.round_of(family, 2)
        assert played is not None
        asked = played.asked
        assert asked.gradients == (STEPS if self.facts.asks is Asks.GRADIENT else 0)
        probes = self.facts.probes(played.scenario.training.zeroth_order, on_device=False)
        assert (probes is not None) == (self.facts.asks is Asks.LOSSES)
        assert asked.losses == (0 if probes is None else STEPS * probes.losses)
        assert asked.trainings + asked.kept == STEPS * (1 if probes is None else probes.trained)
        assert (asked.trainings, asked.trainings_on_kept) in ((STEPS, 0), (0, STEPS))
        assert asked.receives_scalars == self.facts.receives_scalars

    @every_family
    @every_cut
    def test_the_server_knows_the_clients_weights_to_the_bit(self, family: str, cut: int | str) -> None:
        """By the upload where gradients are exact, by replaying the scalars where they are estimated."""
        played = self.round_of(family, cut)
        if played is None:
            return
        for name, tensor in played.part_of(played.state).items():
            assert torch.equal(tensor, played.on_client[name]), name
        scalars = played.report.coefficients
        assert len(scalars) == (STEPS if self.facts.gradient is Gradient.ESTIMATED else 0)
        assert all(len(step) == DIRECTIONS for step in scalars)

    @every_family
    def test_the_same_seed_gives_the_same_bits(self, family: str) -> None:
        """Weights, loss and scalars."""
        played = self.round_of(family, 2)
        assert played is not None
        again = play(self.mode, family, 2)
        assert again.report.train_loss == played.report.train_loss
        assert again.report.coefficients == played.report.coefficients
        for name, tensor in played.state.items():
            assert torch.equal(tensor, again.state[name]), name

    @pytest.mark.parametrize("family", ["bert", "opt-causal"])
    def test_batches_are_divided_where_it_says_so(self, family: str) -> None:
        """Then parts give the weights of the whole batch to rounding, in the same bytes; elsewhere they are refused."""
        whole = self.round_of(family, 2)
        assert whole is not None
        if not self.facts.divides_batches:
            with pytest.raises(ContractError, match="cannot be divided"):
                play(self.mode, family, 2, micro_batches=2)
            return
        parts = play(self.mode, family, 2, micro_batches=2)
        assert parts.report.bytes_by_phase == whole.report.bytes_by_phase
        assert parts.report.train_loss == pytest.approx(whole.report.train_loss, rel=1e-3)
        for name, tensor in whole.state.items():
            torch.testing.assert_close(parts.state[name], tensor, rtol=1e-2, atol=1e-4)
        predicted = client_memory(parts.traced, parts.scenario, 2, self.mode, micro_batches=2).peak_bytes
        assert predicted == pytest.approx(parts.report.peak_bytes, rel=1e-3, abs=256)

    def test_costs_are_finite_and_positive_in_an_option_table(self) -> None:
        """At every cut it exists at: all of them, the last one only where it runs the whole model."""
        table = profile_scenario(scenario_with("resnet", self.mode)).table
        assert set(table["mode"]) == {self.mode}
        last = traced_with("resnet", self.mode).model.num_blocks
        cuts = set(range(1, last + 1)) if self.facts.runs_whole_model else set(range(1, last))
        assert set(table["cut"]) == cuts
        for column in ("client_compute_s", "client_peak_bytes", "downlink_bytes", "model_download_bytes", "progress"):
            assert np.isfinite(table[column]).all(), column
            assert (table[column] > 0).all(), column
        shallow = table[table["cut"] < last]
        assert (shallow[["uplink_bytes", "server_compute_s", "server_state_bytes"]] > 0).all(axis=None)
        assert (table["progress"] <= 1).all()
        deeper = shallow.groupby(["client", "cut"])["client_compute_s"].min().unstack("cut").to_numpy()
        assert (np.diff(deeper, axis=1) > 0).all()

    def test_a_plan_of_this_mode_trains_and_sends_what_was_planned(self) -> None:
        """One round inline, byte by byte of every client and phase."""
        scenario = scenario_with("resnet", self.mode)
        plan = make_plan(scenario, profile_scenario(scenario))
        assert {client.mode for client in plan.clients} == {self.mode}
        with InlineExecutor(scenario) as executor:
            result = train(scenario, assignments_of(plan, scenario), executor, 1)
        index = ["client", "phase"]
        planned = plan.ledger(1).table.set_index(index)["bytes"]
        measured = result.measured.of(Source.MEASURED).set_index(index)["bytes"]
        crossed = planned[planned > 0]
        assert len(crossed) > 0
        assert measured[measured > 0].sort_index().to_dict() == crossed.sort_index().to_dict()
        for client in plan.clients:
            assert result.peak_bytes[client.id] == pytest.approx(client.client_peak_bytes, rel=1e-3, abs=256)


@cache
def _round(mode: str, family: str, cut: int | str) -> Played:
    """Play a round once for all that is checked of it."""
    return play(mode, family, cut)
