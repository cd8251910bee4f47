"""Peaks of every cut from recordings of single blocks: a block is run a few times, not once a cut and mode.

What is composed equals a full trace (:mod:`hybridsplit.profiler.memory.parts`) to the byte. Where a block does what it
does not show by itself, such as sharing memory with a gradient of a parameter, nothing is composed and the caller
traces the whole.
"""

from __future__ import annotations

from collections.abc import Callable

from hybridsplit.profiler.kernels import CPU_KERNELS
from hybridsplit.profiler.memory.activations import Activation
from hybridsplit.profiler.memory.blocks import loss_excess_bytes
from hybridsplit.profiler.memory.event_log import NotComposableError
from hybridsplit.profiler.memory.exact_walk import Top, Walked, chain_up, walk
from hybridsplit.profiler.memory.links import Links, Reads, standing_bytes
from hybridsplit.profiler.memory.parts import anchors_held, fewer_directions, stand_in_peak_bytes
from hybridsplit.profiler.memory.passages import Below, Link
from hybridsplit.profiler.memory.stand_ins import StandInParts, passage_of
from hybridsplit.profiler.memory.update_peaks import Updates
from hybridsplit.profiler.models import TracedModel
from hybridsplit.profiler.shapes import shapes_only
from hybridsplit.runtime.session.ahead import MEASURED_STEPS
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.errors import ProfileError
from hybridsplit.scenarios.modes import MODES, Asks
from hybridsplit.scenarios.schema import Scenario


class ComposedPeaks:
    """Peaks of live tensor bytes of client and server parts.

    Parameters
    ----------
    traced
        The model as shapes.
    scenario
        Training settings.
    """

    def __init__(self, traced: TracedModel, scenario: Scenario) -> None:
        self._traced, self._scenario, self._training = traced, scenario, scenario.training
        self._num_steps = min(MEASURED_STEPS, scenario.training.local_steps)
        with shapes_only(CPU_KERNELS, traced.memo):
            self._links = Links(traced, scenario)
        parameters = [p for link in self._links.blocks for _, p in link.part.trainable()]
        clip = self._training.gradient_clip
        self._of_client = Updates(self._training.optimizer, clip, parameters)
        self._of_server = Updates(self._training.server_optimizer or self._training.optimizer, clip, parameters)
        self._stand_ins: StandInParts | None = None
        self._outputs: list[Activation] = []

    def client_peak_bytes(self, cut: int, mode: str) -> int | None:
        """Return the peak of a client part; None where it has to be traced."""
        trains = any(link.num_trained for link in self._links.blocks[:cut])
        forward_mode = self._training.zeroth_order.derivative == "forward-mode"
        if mode == Mode.FO and trains:
            return self._if_composable(lambda: self._of_shapes(lambda: self._exact_client(cut)))
        if mode in (Mode.FO, Mode.FROZEN, Mode.ZO_LOSS) or (mode == Mode.ZO_PROJECTION and not forward_mode):
            return self._if_composable(lambda: self._standing_in(cut, mode))
        return None

    def server_peak_bytes(self, cut: int, mode: str) -> int | None:
        """Return the peak of a client's server copy; None where it has to be traced."""
        probes = MODES[mode].asks is Asks.LOSSES
        if cut == len(self._links.blocks):
            return 0
        if self._training.server_gradient == "zeroth-order":
            return None
        if probes and anchors_held(self._training.zeroth_order, mode) != 1:
            return None
        return self._if_composable(lambda: self._of_shapes(lambda: self._server(cut, mode, probes=probes)))

    def _if_composable(self, peak: Callable[[], int]) -> int | None:
        if not self._links.are_apart:
            return None
        try:
            return peak()
        except (NotComposableError, ProfileError):
            # If it cannot be traced, the full trace says so.
            return None

    def _standing_in(self, cut: int, mode: str) -> int:
        with shapes_only(CPU_KERNELS, self._traced.memo):
            if self._stand_ins is None:
                self._stand_ins = StandInParts(self._traced, fewer_directions(self._training), self._links)
            part = self._stand_ins.part(cut, training=mode == Mode.FO)
        return stand_in_peak_bytes(part, self._traced, self._scenario, cut, mode)

    def _of_shapes(self, peak: Callable[[], int]) -> int:
        with shapes_only(CPU_KERNELS, self._traced.memo):
            return peak()

    def _exact_client(self, cut: int) -> int:
        links, batch = self._links, self._traced.batch
        chain = links.blocks[:cut]
        risen, belows = chain_up(links, chain, links.batch, Below.NOTHING)
        gradient = Activation.as_received(risen.output)
        excess_bytes = gradient.storage_bytes
        if cut == len(links.blocks):
            excess_bytes = loss_excess_bytes(risen.output.make(), batch, self._scenario)
        walked = walk(links, chain, risen, belows, Top(excess_bytes, gradient))
        tensors = [tensor for tensor in (batch.inputs, batch.labels, batch.mask_BS) if tensor is not None]
        standing = standing_bytes(chain) + sum(tensor.untyped_storage().nbytes() for tensor in tensors)
        return self._peak_of_steps(standing, 0, walked, chain, 0, self._of_client)

    def _server(self, cut: int, mode: str, *, probes: bool) -> int:
        links, batch = self._links, self._traced.batch
        chain = [*links.blocks[cut:], links.loss]
        smashed = Activation.as_received(self._output(cut))
        beside = [tensor for tensor in (batch.labels, batch.mask_BS) if tensor is not None]
        standing = standing_bytes(chain) + sum(t.untyped_storage().nbytes() for t in beside) + smashed.storage_bytes
        client_trains = any(link.num_trained for link in links.blocks[:cut])
        wants_gradient = MODES[mode].asks is Asks.GRADIENT and client_trains
        probe_bytes = passage_of(links, chain, smashed, Reads.PLAIN, training=False).excess_bytes if probes else 0
        risen, belows = chain_up(links, chain, smashed, Below.RECEIVED if wants_gradient else Below.NOTHING)
        if not any(passage.has_graph for passage in risen.passages):
            walked = Walked(risen.peak_bytes, 0, None, ())
        else:
            walked = walk(links, chain, risen, belows, Top(risen.output.storage_bytes, risen.output))
        kept_bytes = risen.output.storage_bytes
        if walked.received is not None:
            if not walked.received.is_as_received:
                raise NotComposableError
            kept_bytes += walked.received.storage_bytes
        first = sum(link.num_trained for link in links.blocks[:cut])
        return self._peak_of_steps(standing, kept_bytes, walked, chain, first, self._of_server, probe_bytes)

    def _peak_of_steps(
        self,
        standing_bytes: int,
        kept_bytes: int,
        walked: Walked,
        chain: list[Link],
        first_parameter: int,
        updates: Updates,
        probe_bytes: int = 0,
    ) -> int:
        """Return the most of a first step, in which the optimizer's state is born, and of a later one."""
        num_parameters = sum(link.num_trained for link in chain)
        trained = [has for link in walked.trained for has in link]
        trained = [False] * (num_parameters - len(trained)) + trained
        update = updates.of(first_parameter, first_parameter + num_parameters, trained)
        at_update = standing_bytes + kept_bytes + walked.gradients_bytes
        passes = standing_bytes + max(walked.peak_bytes, probe_bytes)
        peak = max(passes, at_update + update.first_bytes)
        if self._num_steps > 1:
            peak = max(peak, update.state_bytes + max(passes, at_update + update.later_bytes))
        return peak

    def _output(self, cut: int) -> Activation:
        """Return what crosses a cut."""
        if not self._outputs:
            x = self._links.batch
            for link in self._links.blocks:
                x = self._links.plainly(link, x).output
                self._outputs.append(x)
        return self._outputs[cut - 1]
