"""Count floating-point operations and bytes moved, operator by operator, with formulas of our own.

``torch.utils.flop_counter`` over-counts the backward of grouped convolutions and counts attention on the CPU as zero,
so its registry, and names, serve only to recognise matmul-class operators: one without a formula here is an error.

Conventions: a multiply-add is two operations; causal attention is counted in full; bytes moved are the sizes of an
operator's inputs and outputs, views excepted.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry

from scenarios.errors import ProfileError

aten = torch.ops.aten
_NAMES_OF_PRODUCTS = re.compile(r"(^|_|add|b)mm(_|$)|matmul|convolution|attention|(^|_)linear|gemm|lstm|gru(_|$)")


class OperatorClass(StrEnum):
    """Classes of operators that reach different shares of a device's peak."""

    MATMUL = "matmul"
    CONVOLUTION = "convolution"
    MEMORY = "memory"


RANDOM_FLOPS_PER_ELEMENT = 300
"""Cost of a normal random number in units of peak arithmetic: a canonical generator is serial, so that noise does not
depend on the device. From one x86 core of 60 GFLOP/s that draws 200 million a second; an assumption elsewhere."""


@dataclass(frozen=True)
class OperatorCost:
    """Operators of a piece of work, alike ones counted together.

    Parameters
    ----------
    is_convolution, is_matmul
        [N] class flags; neither means memory-bound work.
    flops
        [N] floating-point operations of each.
    moved_bytes
        [N] bytes read and written by each.
    count
        [N] how often it occurs.
    """

    is_matmul: np.ndarray
    is_convolution: np.ndarray
    flops: np.ndarray
    moved_bytes: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, counted: Counter[tuple[OperatorClass, float, float]]) -> OperatorCost:
        """Build from a counter of (class, FLOPs, bytes)."""
        keys = list(counted)
        return cls(
            is_matmul=np.array([key[0] is OperatorClass.MATMUL for key in keys], dtype=bool),
            is_convolution=np.array([key[0] is OperatorClass.CONVOLUTION for key in keys], dtype=bool),
            flops=np.array([key[1] for key in keys], dtype=float),
            moved_bytes=np.array([key[2] for key in keys], dtype=float),
            count=np.array([counted[key] for key in keys], dtype=float),
        )

    @property
    def total_flops(self) -> float:
        """Floating-point operations of matmul-class operators, all together."""
        heavy = self.is_matmul | self.is_convolution
        return float((self.flops * self.count)[heavy].sum())

    @property
    def total_bytes(self) -> float:
        """Bytes moved, all together."""
        return float((self.moved_bytes * self.count).sum())


NO_WORK = OperatorCost.of(Counter())


class OperatorCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operators dispatched inside it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._counted: Counter[tuple[OperatorClass, float, float]] = Counter()

    def cost(self) -> OperatorCost:
        """Return what was counted so far."""
        return OperatorCost.of(self._counted)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if func.is_view or packet in _MOVES_NOTHING:
            return result
        moved_bytes = float(_moved_bytes(packet, args, kwargs, result))
        if packet in _FORMULAS:
            operator_class, formula = _FORMULAS[packet]
            self._counted[operator_class, float(formula(args, result)), moved_bytes] += 1
        elif packet in flop_registry or _NAMES_OF_PRODUCTS.search(packet.__name__):
            raise ProfileError(
                f"operator {packet} does matrix products and has no cost formula; an unknown cost is never zero: "
                "report the model, or use an attention implementation that is known"
            )
        elif moved_bytes > 0:
            is_random = packet in (aten.randn, aten.normal_)
            flops = RANDOM_FLOPS_PER_ELEMENT * result.numel() if is_random else 0.0
            self._counted[OperatorClass.MEMORY, float(flops), moved_bytes] += 1
        return result


_MOVES_NOTHING = {aten._unsafe_view, aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.detach}
_GATHERS = {aten.embedding, aten.index, aten.index_select, aten.gather}
_SCATTERS = {aten.index_copy_, aten.index_copy}


def _moved_bytes(packet: Any, args: Any, kwargs: Any, result: Any) -> int:
    """Bytes read and written: of a table that is gathered from or scattered to, only the rows touched."""
    if packet in _GATHERS:
        return 2 * _size_bytes(result)
    if packet in _SCATTERS:
        return 2 * _size_bytes(args[3])
    return sum(_size_bytes(leaf) for leaf in tree_iter((args, kwargs, result)))


def _size_bytes(leaf: object) -> int:
    return leaf.numel() * leaf.element_size() if isinstance(leaf, Tensor) else 0


def _mm(args: Any, result: Any) -> float:
    (m, k), n = args[0].shape, args[1].shape[1]
    return float(2 * m * k * n)


def _addmm(args: Any, result: Any) -> float:
    return _mm(args[1:], result)


def _bmm(args: Any, result: Any) -> float:
    b, m, k = args[0].shape
    return float(2 * b * m * k * args[1].shape[2])


def _baddbmm(args: Any, result: Any) -> float:
    return _bmm(args[1:], result)


def _one_convolution(x: Tensor, weight: Tensor, y: Tensor, *, transposed: bool) -> float:
    """One pass over all (output position, input channel of the group, kernel position) triples.

    The gradients of input and of weight each visit the same triples, grouped or not.
    """
    positions = x if transposed else y
    return 2.0 * positions.shape[0] * math.prod(positions.shape[2:]) * weight.numel()


def _convolution(args: Any, result: Any) -> float:
    return _one_convolution(args[0], args[1], result, transposed=bool(args[6]))


def _convolution_backward(args: Any, result: Any) -> float:
    grad_output, x, weight, transposed, wanted = args[0], args[1], args[2], bool(args[7]), args[10]
    return _one_convolution(x, weight, grad_output, transposed=transposed) * (int(wanted[0]) + int(wanted[1]))


def _attention(args: Any, result: Any) -> float:
    query, key, value = args[0], args[1], args[2]
    b, h, s_query, d = query.shape
    return float(2 * b * h * s_query * key.shape[2] * (d + value.shape[3]))


def _attention_backward(args: Any, result: Any) -> float:
    """Scores again, then the gradients of values, probabilities, queries and keys: five products."""
    query, key, value = args[1], args[2], args[3]
    b, h, s_query, d = query.shape
    return float(2 * b * h * s_query * key.shape[2] * (3 * d + 2 * value.shape[3]))


_Formula = Callable[[Any, Any], float]
_FORMULAS: dict[Any, tuple[OperatorClass, _Formula]] = {
    aten.mm: (OperatorClass.MATMUL, _mm),
    aten.addmm: (OperatorClass.MATMUL, _addmm),
    aten.bmm: (OperatorClass.MATMUL, _bmm),
    aten.baddbmm: (OperatorClass.MATMUL, _baddbmm),
    aten.convolution: (OperatorClass.CONVOLUTION, _convolution),
    aten.convolution_backward: (OperatorClass.CONVOLUTION, _convolution_backward),
    aten._scaled_dot_product_flash_attention_for_cpu: (OperatorClass.MATMUL, _attention),
    aten._scaled_dot_product_flash_attention_for_cpu_backward: (OperatorClass.MATMUL, _attention_backward),
    aten._scaled_dot_product_efficient_attention: (OperatorClass.MATMUL, _attention),
    aten._scaled_dot_product_efficient_attention_backward: (OperatorClass.MATMUL, _attention_backward),
    aten._scaled_dot_product_flash_attention: (OperatorClass.MATMUL, _attention),
    aten._scaled_dot_product_flash_attention_backward: (OperatorClass.MATMUL, _attention_backward),
}
