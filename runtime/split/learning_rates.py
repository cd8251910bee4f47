"""Learning rates by round."""

from __future__ import annotations

import math

from hybridsplit.scenarios.schema import LearningRateSchedule, Optimizer, Training


def learning_rate_factor(schedule: LearningRateSchedule, round_index: int, num_rounds: int) -> float:
    """Return the factor on all learning rates in a round.

    It rises linearly over the warm-up, is 1 in the round after it, falls along the schedule's shape to
    ``final_fraction`` in the last round of the scenario, and stays there.

    Parameters
    ----------
    schedule
        Shape, warm-up and final fraction.
    round_index
        Counts from 0.
    num_rounds
        Rounds of the scenario, over which the factor falls.
    """
    warmup = schedule.warmup_rounds
    if round_index < warmup:
        return (round_index + 1) / (warmup + 1)
    if schedule.shape == "constant":
        return 1.0
    done = min(1.0, (round_index - warmup) / max(1, num_rounds - 1 - warmup))
    remaining = 1.0 - done if schedule.shape == "linear" else (1.0 + math.cos(math.pi * done)) / 2
    return schedule.final_fraction + (1.0 - schedule.final_fraction) * remaining


def training_at_round(training: Training, round_index: int) -> Training:
    """Return the training section with the learning rates of a round.

    Parameters
    ----------
    training
        The scenario's section.
    round_index
        Counts from 0.
    """
    factor = learning_rate_factor(training.learning_rate_schedule, round_index, training.rounds)
    if factor == 1.0:
        return training
    update: dict[str, object] = {"optimizer": _scaled(training.optimizer, factor)}
    if training.server_optimizer is not None:
        update["server_optimizer"] = _scaled(training.server_optimizer, factor)
    estimated = training.zeroth_order.model_copy(update={"optimizer": _scaled(training.zeroth_order.optimizer, factor)})
    return training.model_copy(update={**update, "zeroth_order": estimated})


def _scaled(optimizer: Optimizer, factor: float) -> Optimizer:
    return optimizer.model_copy(update={"learning_rate": optimizer.learning_rate * factor})
