"""The order in which gradients of micro-batches are added, whichever replicas compute them.

Micro-batch i is added to partial sum i mod P, in ascending order; then sums P/2 apart are added in pairs, then those
P/4 apart, and so on. A replica j of r has the sums whose number is j mod r: it adds its own in pairs first, and swaps
what it has with one replica after another, r/2, r/4, ..., 1 apart. Two numbers add up to the same bits in either order,
so after the last turn all replicas have the sum of one process, to the bit, for every power of two r up to P. With
P = 1 gradients are added one after another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

Gradients = dict[str, Tensor]
"""By parameter name; those without a gradient have no entry."""


def strides(replicas: int) -> Iterator[int]:
    """Yield how far apart the replicas are that swap their sums, turn by turn.

    Parameters
    ----------
    replicas
        How many there are, a power of two.
    """
    while replicas > 1:
        replicas //= 2
        yield replicas


class GradientSums:
    """The gradients of a step on one machine.

    Parameters
    ----------
    parameters
        Trained parameters by name.
    partial_sums
        Sums P.
    replica, replicas
        Which of how many machines this is.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], partial_sums: int, replica: int = 0, replicas: int = 1
    ) -> None:
        self._parameters, self._number = parameters, partial_sums
        self._replica, self._replicas = replica, replicas
        self._sums: dict[int, Gradients] = {}
        self._at = 0

    def begin(self, micro_batch: int) -> None:
        """Let the backward pass that follows add to the sum of a micro-batch."""
        self._at = micro_batch % self._number
        if self._number > 1:
            known = self._sums.pop(self._at, {})
            for name, parameter in self._parameters.items():
                parameter.grad = known.get(name)

    def end(self) -> None:
        """Keep the sum that a backward pass added to."""
        if self._number > 1:
            self._sums[self._at] = self._taken()

    def together(self) -> None:
        """Add this machine's own sums in pairs; parameters have their sum as gradient."""
        if self._number == 1:
            return
        apart = self._number // 2
        while apart >= self._replicas:
            for left in range(self._replica, apart, self._replicas):
                self._sums[left] = _added(self._sums.pop(left, {}), self._sums.pop(left + apart, {}))
            apart //= 2
        self._give(self._sums.pop(self._replica, {}))

    def current(self) -> Gradients:
        """Return what this machine has of the sum so far."""
        return {name: p.grad for name, p in self._parameters.items() if p.grad is not None}

    def add(self, others: Mapping[str, Tensor]) -> None:
        """Add what another replica has."""
        self._give(_added(self._taken(), others))

    def _taken(self) -> Gradients:
        found = self.current()
        self._give({})
        return found

    def _give(self, gradients: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.grad = gradients.get(name)


def _added(one: Gradients, other: Mapping[str, Tensor]) -> Gradients:
    """Add up two sums, in the memory of the first."""
    for name, tensor in other.items():
        if name in one:
            one[name].add_(tensor)
        else:
            one[name] = tensor
    return one
