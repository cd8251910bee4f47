"""How good a model may become, judged before it is trained: scores by which variants of a model are ranked.

No score is an accuracy; each is worth as much as its rank correlation with the accuracy of trained variants, which
``hybridsplit search`` prints. Two need no data: the number of trainable parameters and the operations of a forward
pass. Two look at the gradient of a batch at the starting weights, after the collection of Abdelfattah, Mehrotra,
Dudziak and Lane ("Zero-Cost Proxies for Lightweight NAS", ICLR 2021, section 3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from hybridsplit.profiler.profiles import ModelProfile
from hybridsplit.scenarios.errors import ProfileError
from hybridsplit.scenarios.schema import Scenario

_NUM_BATCHES = 4


@dataclass(frozen=True)
class UntrainedScores:
    """Scores of one model; of each, more is taken to be better.

    Parameters
    ----------
    parameters
        Trainable parameters.
    operations
        Floating-point operations of a forward pass of one batch.
    gradient_norm
        Sum of the Euclidean norms of every trainable tensor's gradient.
    saliency
        Sum of the products of every trainable parameter and its gradient, without signs (SNIP).
    """

    parameters: float
    operations: float
    gradient_norm: float
    saliency: float

    @property
    def by_name(self) -> Mapping[str, float]:
        """Scores by their names."""
        return {name: getattr(self, name) for name in SCORES}


SCORES = tuple(field.name for field in fields(UntrainedScores))
"""Names of the scores."""


def untrained_scores(scenario: Scenario, profile: ModelProfile) -> UntrainedScores:
    """Judge a scenario's model at its starting weights.

    Parameters
    ----------
    scenario
        Names model and data.
    profile
        Of its model.

    Raises
    ------
    ProfileError
        If the gradient at the starting weights is not finite.
    ScenarioError
        If model or data cannot be had.
    """
    costs = profile.by_batch_size[scenario.training.batch_size].costs
    gradient_norm, saliency = _of_gradient(scenario)
    return UntrainedScores(
        parameters=float(sum(cost.num_trainable for cost in costs)),
        operations=math.fsum(float(cost.forward.flops.sum()) for cost in costs),
        gradient_norm=gradient_norm,
        saliency=saliency,
    )


def _of_gradient(scenario: Scenario) -> tuple[float, float]:
    """Return gradient norm and saliency, means over a few batches."""
    from hybridsplit.profiler.progress import Gradients  # late: PyTorch

    gradients = Gradients(scenario)
    norms, saliencies = [], []
    for step in range(_NUM_BATCHES):
        whole = gradients.of_batch(gradients.draw("untrained-scores", step))
        trained = [(one, one.grad) for _, one in whole.trainable() if one.grad is not None]
        norms.append(math.fsum(float(gradient.double().norm()) for _, gradient in trained))
        saliencies.append(math.fsum(float((one.detach() * gradient).double().abs().sum()) for one, gradient in trained))
    found = math.fsum(norms) / _NUM_BATCHES, math.fsum(saliencies) / _NUM_BATCHES
    if not all(map(math.isfinite, found)):
        raise ProfileError(
            "the gradient at the starting weights is not finite, so that it says nothing about the model; check "
            "model.config and training.batch_size"
        )
    return found
