"""Which of torch's devices compute a run: client parts and server parts on the CPU or on a GPU."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.split.link import Batch, TimedLink
from hybridsplit.runtime.split.parts import Part, SplitModel, State
from hybridsplit.runtime.split.three_part_link import MovedMiddle, TimedMiddle
from hybridsplit.scenarios.errors import RunError

CPU = torch.device("cpu")


@dataclass(frozen=True)
class ComputeDevices:
    """Where a run computes. It decides bits: kernels of a GPU add in another order than those of a CPU.

    Parameters
    ----------
    name
        What the user calls it, and a checkpoint states.
    client, server
        Torch's device of client parts, and of server parts.
    """

    name: str = "cpu"
    client: torch.device = CPU
    server: torch.device = CPU

    @property
    def all_cpu(self) -> bool:
        """Whether nothing has to be moved."""
        return self.client == CPU == self.server

    @property
    def needs_gpu(self) -> bool:
        """Whether a process that trains clients needs a GPU."""
        return "cuda" in (self.client.type, self.server.type)

    def begin(self) -> None:
        """Let kernels be deterministic from now on, where there is a choice.

        Raises
        ------
        RunError
            If there is no GPU, and one is needed.
        """
        if not self.needs_gpu:
            return
        if not torch.cuda.is_available():
            raise RunError(
                f"--torch-device {self.name}: found no GPU that PyTorch {torch.__version__} can use in this process; "
                "needs a CUDA build of PyTorch and a driver (docs/training.md, On a GPU), or --torch-device cpu"
            )
        # Read when cuBLAS is loaded: its results depend on how many workspaces streams may take.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = False, False

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Do as :meth:`begin`, and restore what there was in the end.

        Raises
        ------
        RunError
            As :meth:`begin`.
        """
        cudnn = torch.backends.cudnn
        before = torch.are_deterministic_algorithms_enabled(), cudnn.benchmark, cudnn.allow_tf32
        self.begin()
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0])
            cudnn.benchmark, cudnn.allow_tf32 = before[1:]

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Say what a GPU could not do, and what can be done about it.

        Raises
        ------
        RunError
            If its memory ran out, or the model has an operator whose results a GPU does not repeat.
        """
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise RunError(
                f"the GPU's memory ran out ({str(error).splitlines()[0]}): use fewer --workers, a smaller "
                "training.batch_size, or --torch-device cpu"
            ) from error
        except RuntimeError as error:
            if not self.needs_gpu or "deterministic" not in str(error):
                raise
            raise RunError(
                f"--torch-device {self.name}: the model has an operator whose results a GPU does not repeat "
                f"({str(error).splitlines()[0]}): use --torch-device cpu, or another model"
            ) from error

    def place(self, model: SplitModel, cut: int, head_blocks: int = 0) -> None:
        """Move blocks ``1..cut``, the last ones and the auxiliary heads to the client's device, others to the server's.

        Parameters
        ----------
        model
            The working copy.
        cut, head_blocks
            First and last blocks on the client.
        """
        if self.all_cpu:
            return
        for index, block in enumerate(model.whole.ordered()):
            is_client = index < cut or index >= model.num_blocks - head_blocks
            _move(block, self.client if is_client else self.server)
        for head in model.heads:
            _move(head, self.client)

    def place_client(self, part: Part) -> Part:
        """Move a client part of its own to the client's device, and return it."""
        return part if self.all_cpu else part.to(self.client)

    def linked(self, server: TimedLink, here: torch.device | None = None) -> TimedLink:
        """Return a link to a server part in this process, across devices where it is on another one.

        Parameters
        ----------
        server
            The server part.
        here
            Where the link is used; where client parts are when None.
        """
        here = self.client if here is None else here
        return server if here == self.server else MovedLink(server, self.server, here)

    def linked_middle(self, middle: TimedMiddle) -> TimedMiddle:
        """Return a link to the server's middle in this process, across devices where it is on another one.

        Parameters
        ----------
        middle
            The middle.
        """
        return middle if self.client == self.server else MovedMiddle(middle, self.server, self.client)


def _move(block: nn.Module, device: torch.device) -> None:
    """Move a block whose tensors are elsewhere; all of them are in one place."""
    first = next(itertools.chain(block.parameters(), block.buffers()), None)
    if first is not None and first.device.type != device.type:
        block.to(device)


CPU_ONLY = ComputeDevices()
_GPU = torch.device("cuda")
COMPUTE_DEVICES: Mapping[str, ComputeDevices] = {
    "cpu": CPU_ONLY,
    "cuda": ComputeDevices("cuda", _GPU, _GPU),
    "server-cuda": ComputeDevices("server-cuda", CPU, _GPU),
}
"""By what ``--torch-device`` takes."""


def moved(batch: Batch, device: torch.device) -> Batch:
    """Return a mini-batch on a device; itself where it is there.

    Parameters
    ----------
    batch, device
        The mini-batch, and where to.
    """
    mask_BS = None if batch.mask_BS is None else batch.mask_BS.to(device)
    return replace(batch, inputs=batch.inputs.to(device), labels=batch.labels.to(device), mask_BS=mask_BS)


def on_cpu(state: State) -> State:
    """Return a state whose tensors are on the CPU; those that are there are not copied."""
    return {name: tensor.to(CPU) for name, tensor in state.items()}


class MovedLink:
    """A link to a server part on another device: what crosses is moved there, and answers are moved here.

    Parameters
    ----------
    server
        The other side.
    there, here
        Its device, and the client's.
    """

    def __init__(self, server: TimedLink, there: torch.device, here: torch.device) -> None:
        self._server, self._there, self._here = server, there, here

    @property
    def seconds(self) -> float:
        """Seconds that the other side has worked."""
        return self._server.seconds

    @property
    def trains_server(self) -> bool:
        """Whether there is a server part."""
        return self._server.trains_server

    def begin_step(self, key: NoiseKey) -> None:
        """Start a step."""
        self._server.begin_step(key)

    def exact(self, h: Tensor, batch: Batch, *, wants_gradient: bool) -> tuple[Tensor | None, float]:
        """Train the server part on smashed data; return λ in their shape, if wanted, and the loss.

        As :meth:`hybridsplit.runtime.split.link.ServerLink.exact`.
        """
        gradient, loss = self._server.exact(self._up(h), self._beside(batch), wants_gradient=wants_gradient)
        return None if gradient is None else gradient.to(self._here), loss

    def probe(self, h: Tensor, batch: Batch, *, keep: bool = False) -> Tensor:
        """Return the loss of smashed data, shape []; as :meth:`hybridsplit.runtime.split.link.ServerLink.probe`."""
        return self._server.probe(self._up(h), self._beside(batch), keep=keep).to(self._here)

    def exact_kept(self, batch: Batch) -> float:
        """Train the server part once on the smashed data kept in this step; return their mean loss."""
        return self._server.exact_kept(self._beside(batch))

    def share_scalars(self, scalars_P: Tensor, seeds_P: Tensor) -> Tensor:
        """Return the scalars to apply, [P], where the client has its own."""
        return self._server.share_scalars(scalars_P, seeds_P).to(scalars_P.device)

    def _up(self, h: Tensor) -> Tensor:
        return h.detach().to(self._there)

    def _beside(self, batch: Batch) -> Batch:
        """Labels and mask: a server part reads no inputs."""
        return moved(replace(batch, inputs=batch.labels), self._there)
