"""Record a forward pass on the meta device: every function and every module of PyTorch that it calls.

Recorded at the level of ``torch`` functions and ``torch.nn`` modules rather than of ATen operators, so that a block
runs what the model's own code runs: batch normalisation follows ``train()`` and ``eval()``, probes see what reads
parameters, and attention is chosen where it runs.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hybridsplit.runtime.models.traced.program import (
    Kind,
    Placeholder,
    Program,
    Ref,
    Step,
    leaves_of,
    map_leaves,
    transposed,
)

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
_RANDOM = re.compile(
    r"(rand|randn|randint|rand_like|randn_like|randint_like|randperm|normal|bernoulli|multinomial|uniform)_?"
)


class UntraceableError(Exception):
    """The forward pass does something that no list of steps can repeat."""


class _Recorder(TorchFunctionMode):
    """Writes down each function that is called with, or gives, tensors."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self._inside: list[str] = []
        self._paused = False
        self._names = {id(module): name for name, module in model.named_modules()}
        self._items = frozenset(
            f"{name}.{index}" if name else str(index)
            for name, module in model.named_modules()
            if isinstance(module, nn.ModuleList)
            for index in range(len(module))
        )
        self._stored = {
            id(tensor): name
            for name, tensor in [*model.named_parameters(), *model.named_buffers(remove_duplicate=False)]
        }
        self._step_of: dict[int, int] = {}
        # Tensors are recognised by identity and storages by address object, so none may be freed while this records.
        self._alive: list[Any] = []
        self._sharing: dict[int, list[int]] = {}
        self._last_write: dict[int, int] = {}

    def input(self, tensor: Tensor, kind: Kind) -> None:
        """Take a tensor as given."""
        self._add(Step(kind, kind.value), tensor)

    def step_of(self, tensor: Tensor) -> int:
        """Return the step whose result the tensor is.

        Raises
        ------
        UntraceableError
            If it came from elsewhere.
        """
        if id(tensor) not in self._step_of:
            name = self._stored.get(id(tensor))
            if name is None:
                raise UntraceableError(
                    f"a tensor of shape {tuple(tensor.shape)} is neither a parameter, a buffer nor the result of a "
                    "torch function"
                )
            self._add(Step(Kind.READ, name), tensor)
        return self._step_of[id(tensor)]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._paused:
            return func(*args, **kwargs)
        if getattr(func, "__name__", "") == "__get__":
            result = func(*args, **kwargs)
            if isinstance(result, Tensor) and result is not args[0]:
                self._property(func.__self__.__name__, args[0], result)
            return result
        if _RANDOM.fullmatch(getattr(func, "__name__", "")):
            # These draw from the global generator: no run would repeat, and no recomputation would agree.
            raise UntraceableError(f"it draws random numbers ({func.__name__})")
        if func is F.batch_norm and kwargs.get("running_mean", args[1] if len(args) > 1 else None) is not None:
            raise UntraceableError(
                "it calls batch_norm itself, which would stay as it is in evaluation; use a module such as "
                "nn.BatchNorm2d"
            )
        return self._call(Kind.FUNCTION, func, func, args, kwargs)

    def _property(self, name: str, x: Tensor, result: Tensor) -> None:
        if name == "mT" or (name == "T" and x.ndim == 2):
            self._record(Kind.FUNCTION, transposed, (x,), {}, result, [])
        elif name == "data":
            self._record(Kind.FUNCTION, Tensor.detach, (x,), {}, result, [])
        elif name == "real" and not x.is_complex():
            self._step_of[id(result)] = self.step_of(x)
            self._alive.append(result)
        elif name in ("real", "imag"):
            self._record(Kind.FUNCTION, torch.real if name == "real" else torch.imag, (x,), {}, result, [])
        else:
            raise UntraceableError(f"it reads the attribute {name!r} of a tensor")

    def call_module(self, module: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Record a module of PyTorch as one step; look inside any other."""
        name = self._names.get(id(module))
        if self._paused or name is None:
            return forward(module, *args, **kwargs)
        if _is_leaf(module):
            return self._call(Kind.MODULE, name, lambda *a, **k: forward(module, *a, **k), args, kwargs)
        self._inside.append(name)
        try:
            return forward(module, *args, **kwargs)
        finally:
            self._inside.pop()

    def _call(self, kind: Kind, target: Any, run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        tensors = [leaf for leaf in leaves_of((args, kwargs)) if isinstance(leaf, Tensor)]
        versions = [tensor._version for tensor in tensors]
        self._paused = True
        try:
            result = run(*args, **kwargs)
        finally:
            self._paused = False
        written = [t for t, version in zip(tensors, versions, strict=True) if t._version != version]
        if written or any(isinstance(leaf, Tensor) for leaf in leaves_of(result)):
            self._record(kind, target, args, kwargs, result, written)
        return result

    def _record(self, kind: Kind, target: Any, args: Any, kwargs: Any, result: Any, written: list[Tensor]) -> None:
        tensors = [leaf for leaf in leaves_of((args, kwargs)) if isinstance(leaf, Tensor)]
        depends_on = {self.step_of(tensor) for tensor in tensors}
        shared = {id(tensor.untyped_storage()) for tensor in written}
        for tensor in tensors:
            storage = id(tensor.untyped_storage())
            writer = self._last_write.get(storage, -1)
            if writer > self.step_of(tensor):
                # An older view of memory that has changed since.
                depends_on.add(writer)
                shared.add(storage)
        rewrites = {step for storage in shared for step in self._sharing.get(storage, [])}
        step = Step(
            kind,
            target,
            map_leaves(tuple(args), self._argument),
            tuple((name, map_leaves(value, self._argument)) for name, value in kwargs.items()),
            tuple(sorted(depends_on)),
            tuple(dict.fromkeys(prefix for name in self._inside for prefix in self._prefixes(name))),
            torch.is_grad_enabled(),
            rewrites=tuple(sorted(rewrites)),
        )
        index = self._add(step, result)
        for tensor in written:
            storage = id(tensor.untyped_storage())
            self._last_write[storage] = index
            self._sharing.setdefault(storage, []).append(index)

    def _prefixes(self, name: str) -> Iterator[str]:
        parts = name.split(".")
        prefixes = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
        return (prefix for prefix in prefixes if prefix in self._items)

    def _argument(self, leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return Ref(self.step_of(leaf))
        if isinstance(leaf, torch.device) or leaf == "meta":
            return Placeholder.DEVICE
        return leaf

    def _add(self, step: Step, result: Any) -> int:
        index = len(self.steps)
        self._alive.append(result)
        if isinstance(result, Tensor):
            is_new = id(result) not in self._step_of
            self.steps.append(_with_shape(step, result))
            self._step_of[id(result)] = index
            if is_new:
                self._share(result, index)
            return index
        self.steps.append(step)
        if isinstance(result, (tuple, list)):
            for position, item in enumerate(result):
                if isinstance(item, Tensor):
                    pick = Step(
                        Kind.FUNCTION, operator.getitem, (Ref(index), position), (), (index,), step.items,
                        step.keeps_gradient, rewrites=step.rewrites,
                    )  # fmt: skip
                    self._add(pick, item)
                elif item is not None and not isinstance(item, (int, float, bool)):
                    raise UntraceableError(f"{step.label} gives nested results")
        elif result is not None and any(isinstance(leaf, Tensor) for leaf in leaves_of(result)):
            raise UntraceableError(f"{step.label} gives a {type(result).__name__} of tensors")
        return index

    def _share(self, tensor: Tensor, index: int) -> None:
        storage = tensor.untyped_storage()
        self._alive.append(storage)
        self._sharing.setdefault(id(storage), []).append(index)


def _with_shape(step: Step, tensor: Tensor) -> Step:
    return Step(
        step.kind, step.target, step.args, step.kwargs, step.depends_on, step.items, step.keeps_gradient,
        tuple(tensor.shape), tensor.dtype, step.rewrites,
    )  # fmt: skip


def _is_leaf(module: nn.Module) -> bool:
    if isinstance(module, (nn.Embedding, nn.modules.batchnorm._BatchNorm)):
        # These hold for modules that a model derives as well: the row ids of embeddings come from module calls, and
        # normalisation follows train() and eval() in them, which a list of steps recorded in one mode does not.
        return True
    return type(module).__module__.startswith("torch.nn.modules") and not isinstance(module, _CONTAINERS)


def record(model: nn.Module, call: Callable[[Tensor, Tensor | None], Any], x: Tensor, mask: Tensor | None) -> Program:
    """Run a model's forward pass once and write down its steps.

    Parameters
    ----------
    model
        On the meta device, in evaluation mode.
    call
        Takes the input batch and the attention mask [B, S], or None, and gives the model's logits.
    x, mask
        Examples, on the meta device.

    Raises
    ------
    UntraceableError
        If the forward pass cannot be written down.
    Exception
        An error that the model raises for shapes without values.
    """
    recorder = _Recorder(model)
    with _all_calls_to(recorder), torch.device("meta"), torch.enable_grad(), recorder:
        recorder.input(x, Kind.INPUT)
        if mask is not None:
            recorder.input(mask, Kind.MASK)
        logits = call(x, mask)
    if not isinstance(logits, Tensor):
        raise UntraceableError(f"its forward gives {type(logits).__name__} where logits are expected")
    parameters = frozenset(name for name, _ in model.named_parameters(remove_duplicate=False))
    return Program(tuple(recorder.steps), recorder.step_of(logits), parameters)


@contextmanager
def _all_calls_to(recorder: _Recorder) -> Iterator[None]:
    """Show the recorder every module call, and keep transformers from reading values of masks."""
    plain = nn.Module.__call__

    def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return recorder.call_module(module, plain, args, kwargs)

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(nn.Module, "__call__", call))
        # A mask may always hold padding; sequences are never packed, since no position ids are given.
        stack.enter_context(mock.patch("transformers.masking_utils.is_tracing", return_value=True))
        stack.enter_context(mock.patch("transformers.masking_utils.find_packed_sequence_indices", return_value=None))
        # This method only issues warnings, and would read the token ids to do so.
        silent = "transformers.modeling_utils.PreTrainedModel.warn_if_padding_and_no_attention_mask"
        stack.enter_context(mock.patch(silent, return_value=None))
        yield
