"""Seconds of every block's passes on one device: what the cost of a mode's step is put together from."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from hybridsplit.scenarios.errors import ContractError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class BlockSeconds:
    """Seconds of each block's passes on one device, arrays of length L; NaN for a pass that was not traced.

    Parameters
    ----------
    forward
        [L] forward.
    backward, backward_without_input
        [L] backward with and without the gradient of the block's input.
    update
        [L] the optimizer's step along exact gradients.
    perturbed_forward, forward_mode
        [L] forward with parameters perturbed along a direction, and with a tangent along one.
    descend, estimated_update
        [L] one direction's part of an estimated gradient, and the optimizer's step along it.
    trains
        [L] whether the block has trainable parameters.
    heads
        [L-1] the same of the auxiliary head behind each block but the last, its loss included; None where no mode of
        the scenario has one.
    """

    forward: FloatArray
    backward: FloatArray
    backward_without_input: FloatArray
    update: FloatArray
    perturbed_forward: FloatArray
    forward_mode: FloatArray
    descend: FloatArray
    estimated_update: FloatArray
    trains: NDArray[np.bool_]
    heads: BlockSeconds | None = field(default=None, kw_only=True)

    def head_of(self, cut: int) -> BlockSeconds:
        """Return the passes of the auxiliary head behind a cut, arrays of length 1.

        Parameters
        ----------
        cut
            Blocks below it, less than L.

        Raises
        ------
        ContractError
            If heads were not traced: a missing cost is never zero.
        """
        if self.heads is None:
            raise ContractError("the profile lacks the costs of auxiliary heads, which this mode needs: profile again")
        of_cut = {f.name: getattr(self.heads, f.name)[cut - 1 : cut] for f in fields(self) if f.name != "heads"}
        return BlockSeconds(**of_cut)

    def exact_backward_s(self, first: int, stop: int, *, wants_input: bool) -> float:
        """Seconds of backward and update.

        Parameters
        ----------
        first, stop
            Blocks ``first..stop-1``, counted from 0.
        wants_input
            Whether the gradient of the input is needed; if not, backward ends at the lowest trained block.
        """
        if wants_input:
            return float(self.backward[first:stop].sum() + self.update[first:stop].sum())
        trained = self.trains[first:stop].nonzero()[0]
        if len(trained) == 0:
            return 0.0
        lowest = first + int(trained[0])
        below_top = self.backward[lowest + 1 : stop].sum()
        return float(below_top + self.backward_without_input[lowest] + self.update[first:stop].sum())

    def estimated_step_s(self, first: int, stop: int, directions: int) -> float:
        """Seconds of one step along an estimated gradient, without its probes.

        Parameters
        ----------
        first, stop
            Blocks ``first..stop-1``, counted from 0.
        directions
            Directions of the estimate.
        """
        return float(directions * self.descend[first:stop].sum() + self.estimated_update[first:stop].sum())
