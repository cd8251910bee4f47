"""Dimension-free aggregation: blocks that all clients move along the same directions (``training.zo_prefix_blocks``).

Every replica of these blocks is a function of the averaged scalars alone, so that no weight of them is ever sent: a
round is replayed from its scalars, and a client that missed rounds replays those it missed, in order (DeComFL, arXiv
2405.15861; docs/methods/training-modes.md, Scalars and replay). With plain SGD the replay of averaged scalars is the
average of the clients' own steps, over several local steps too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hybridsplit.runtime.estimators.scalar_steps import ScalarDescent, ScalarStep
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.split.learning_rates import training_at_round
from hybridsplit.runtime.split.parts import SplitModel, State
from hybridsplit.runtime.split.reports import ClientReport
from hybridsplit.scenarios.schema import Scenario


@dataclass(frozen=True)
class AveragedRound:
    """The scalars that all replicas apply for a round.

    Parameters
    ----------
    round
        Counts from 0.
    coefficients
        By local step and direction.
    """

    round: int
    coefficients: tuple[tuple[float, ...], ...]

    @property
    def num_bytes(self) -> int:
        """Bytes on air: a 4-byte scalar a direction, and a 4-byte seed a step."""
        return 4 * sum(len(step) + 1 for step in self.coefficients)


def average_scalars(
    reports: Iterable[ClientReport], weights: Mapping[str, float], round_index: int
) -> AveragedRound | None:
    """Average the scalars of a round, direction by direction.

    Parameters
    ----------
    reports
        Of the clients whose training counts.
    weights
        By client: data share times reliability.
    round_index
        Counts from 0.

    Returns
    -------
    None where no client sent scalars.
    """
    sent = [report for report in reports if report.coefficients]
    if not sent:
        return None
    total = math.fsum(weights[report.assignment.client] for report in sent)
    shares = [weights[report.assignment.client] / total for report in sent]

    def mean(values: Sequence[float]) -> float:
        return math.fsum(share * value for share, value in zip(shares, values, strict=True))

    steps = zip(*(report.coefficients for report in sent), strict=True)
    coefficients = tuple(tuple(mean(values) for values in zip(*step, strict=True)) for step in steps)
    return AveragedRound(round_index, coefficients)


def replay_rounds(model: SplitModel, state: State, scenario: Scenario, rounds: Iterable[AveragedRound]) -> State:
    """Move the common blocks by the scalars of some rounds, in order; the same scalars give the same bits anywhere.

    Parameters
    ----------
    model
        Working copy of the model; overwritten.
    state
        Holds the common blocks as they were before the first of the rounds.
    scenario
        Seed, directions and learning rates.
    rounds
        What to apply.

    Returns
    -------
    The entries of the common blocks.
    """
    training = scenario.training
    part = model.client_part(training.zo_prefix_blocks)
    part.load(state)
    for one in rounds:
        descent = ScalarDescent(part.trainable(), training_at_round(training, one.round).zeroth_order.optimizer)
        for step, coefficients in enumerate(one.coefficients):
            key = NoiseKey(
                scenario.seed, "client", "", one.round, step,
                training.zeroth_order.distribution, training.zo_prefix_blocks,
            )  # fmt: skip
            descent.step(ScalarStep(key, list(coefficients), {}))
    return part.snapshot()


class ScalarLog:
    """Averaged scalars of past rounds, as long as some client may still need them.

    Parameters
    ----------
    clients
        All clients.
    rounds, last_round
        What an earlier log held: its rounds, and by client the last round it took part in.
    """

    def __init__(
        self,
        clients: Iterable[str],
        rounds: Iterable[AveragedRound] = (),
        last_round: Mapping[str, int] | None = None,
    ) -> None:
        self._rounds = list(rounds)
        self._last_round = dict.fromkeys(clients, -1) | dict(last_round or {})

    @property
    def rounds(self) -> tuple[AveragedRound, ...]:
        """What is still kept, oldest first."""
        return tuple(self._rounds)

    @property
    def last_round(self) -> dict[str, int]:
        """By client, the last round it took part in; -1 for none."""
        return dict(self._last_round)

    def missed(self, client: str) -> tuple[AveragedRound, ...]:
        """Return the rounds a client has to replay before it can take part again."""
        return tuple(one for one in self._rounds if one.round > self._last_round[client])

    def add(self, averaged: AveragedRound | None, round_index: int, taking_part: Iterable[str]) -> None:
        """Add a round, and drop the rounds that no client needs any more.

        Parameters
        ----------
        averaged
            The round's scalars; None where no client sent any.
        round_index
            Counts from 0.
        taking_part
            Clients that took part, and so have applied the scalars.
        """
        if averaged is not None:
            self._rounds.append(averaged)
        self._last_round |= dict.fromkeys(taking_part, round_index)
        self._drop_unneeded()

    def forget(self, clients: Iterable[str]) -> None:
        """Drop clients that will not take part again, and what only they needed."""
        for client in clients:
            self._last_round.pop(client, None)
        self._drop_unneeded()

    def _drop_unneeded(self) -> None:
        oldest = min(self._last_round.values(), default=-1)
        self._rounds = [one for one in self._rounds if one.round > oldest]
