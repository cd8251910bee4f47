"""The server's side of a split in three parts: the blocks between a client's cut and its head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

import torch
from torch import Tensor

from hybridsplit.runtime.split.link import as_sent
from hybridsplit.runtime.split.optimizers import OptimizerState, PartOptimizer
from hybridsplit.runtime.split.parts import Part
from hybridsplit.runtime.split.three_part_link import TimedMiddle
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.schema import Training


class MiddleServer(TimedMiddle):
    """Forward, and later backward and update, of the middle on one client's data; it sees no label and no loss.

    Parameters
    ----------
    part
        The blocks in between; at least one.
    training
        The scenario's training section.
    """

    def __init__(self, part: Part, training: Training) -> None:
        self.part = part
        self._spent_s = {Phase.SERVER_COMPUTE: 0.0, Phase.SERVER_BACKWARD: 0.0}
        settings = training.server_optimizer or training.optimizer
        self._optimizer = PartOptimizer(settings, part.trainable(), training.gradient_clip)
        self._graph: tuple[Tensor, Tensor] | None = None
        part.train(True)

    @property
    def seconds(self) -> float:
        """Seconds spent forward."""
        return self._spent_s[Phase.SERVER_COMPUTE]

    @property
    def backward_seconds(self) -> float:
        """Seconds spent backward and with the update."""
        return self._spent_s[Phase.SERVER_BACKWARD]

    @property
    def trains(self) -> bool:
        """Whether the middle has trainable parameters."""
        return self.part.num_trainable > 0

    def features(self, h: Tensor, mask_BS: Tensor | None, *, wants_gradient: bool) -> Tensor:
        """Run forward on smashed data, shape of the activation at the cut, with their mask [B, S]; keep the graph."""
        with self._timed(Phase.SERVER_COMPUTE), torch.enable_grad():
            leaf = as_sent(h).detach().requires_grad_(wants_gradient)
            features = self.part(leaf, mask_BS)
            self._graph = leaf, features
            return as_sent(features.detach())

    def gradient(self, of_features: Tensor) -> Tensor | None:
        """Run backward from the gradient of the features, in their shape, and update; return λ if it was wanted.

        Raises
        ------
        ContractError
            If no features were asked for in this step.
        """
        if self._graph is None:
            raise ContractError("a gradient of features came up, and none were sent down in this step")
        with self._timed(Phase.SERVER_BACKWARD):
            (leaf, features), self._graph = self._graph, None
            if features.requires_grad:
                features.backward(as_sent(of_features))  # type: ignore[no-untyped-call]
            del features
            gradient = None if leaf.grad is None else as_sent(leaf.grad)
            leaf.grad = None
            self._optimizer.step()
            return gradient

    def optimizer_state(self) -> OptimizerState:
        """Return what the optimizer keeps between steps."""
        return self._optimizer.state()

    def load_optimizer_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state that :meth:`optimizer_state` gave; entries of other parts are passed over."""
        self._optimizer.load_state(state)

    @contextmanager
    def _timed(self, phase: Phase) -> Iterator[None]:
        start_s = perf_counter()
        try:
            yield
        finally:
            self._spent_s[phase] += perf_counter() - start_s
