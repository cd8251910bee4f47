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
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry

from hybridsplit.profiler.costs import RANDOM_FLOPS_PER_ELEMENT, OperatorClass, OperatorCost, OperatorKey
from hybridsplit.runtime.split.dispatch import PlainDispatch
from hybridsplit.scenarios.errors import ProfileError

aten = torch.ops.aten
_NAMES_OF_PRODUCTS = re.compile(r"(^|_|add|b)mm(_|$)|matmul|convolution|attention|(^|_)linear|gemm|lstm|gru(_|$)")


class OperatorCounter(PlainDispatch):
    """Counts the operators dispatched inside it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._counted: Counter[OperatorKey] = Counter()

    def cost(self) -> OperatorCost:
        """Return what was counted so far."""
        return OperatorCost.of(self._counted)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if func.is_view or packet in _MOVES_NOTHING or func.namespace == "prims":
            # Forward mode works out the shape of a sum with zero in primitives; nothing is computed.
            return result
        moved_bytes = float(_moved_bytes(packet, args, kwargs, result))
        if packet in _CONVOLUTIONS:
            self._counted[_convolution_key(packet, args, result, moved_bytes)] += 1
        elif packet in _PRODUCTS:
            flops = _PRODUCTS[packet](args, result)
            self._counted[OperatorKey(OperatorClass.MATMUL, flops, moved_bytes)] += 1
        elif packet in flop_registry or _NAMES_OF_PRODUCTS.search(packet.__name__):
            raise ProfileError(
                f"operator {packet} does matrix products and has no cost formula; an unknown cost is never zero: "
                "report the model, or use an attention implementation that is known"
            )
        elif packet in _RANDOM:
            flops = float(RANDOM_FLOPS_PER_ELEMENT * result.numel())
            self._counted[OperatorKey(OperatorClass.RANDOM, flops, moved_bytes)] += 1
        elif moved_bytes > 0:
            self._counted[OperatorKey(OperatorClass.MEMORY, 0.0, moved_bytes)] += 1
        return result


_MOVES_NOTHING = {
    aten._unsafe_view,
    aten.empty,
    aten.empty_like,
    aten.empty_strided,
    aten.new_empty,
    aten.detach,
    aten._efficientzerotensor,
}
_RANDOM = {aten.randn, aten.normal_, aten.random_}
_GATHERS = {aten.embedding, aten.index, aten.index_select, aten.gather}
_SCATTERS = {aten.index_add_}


def _moved_bytes(packet: Any, args: Any, kwargs: Any, result: Any) -> int:
    """Bytes read and written: of a table that is gathered from or scattered to, only the rows touched."""
    if packet in _GATHERS:
        return 2 * _size_bytes(result)
    if packet in _SCATTERS:
        return 3 * _size_bytes(args[3])
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


def _convolution_key(packet: Any, args: Any, result: Any, moved_bytes: float) -> OperatorKey:
    """Class, cost and traffic of a convolution.

    Forward pass, gradient of the input and gradient of the weight each visit the same (output position, input channel
    of the group, kernel position) triples, grouped or not.
    """
    is_forward = packet is aten.convolution
    if is_forward:
        x, weight, y, transposed, groups, passes = args[0], args[1], result, bool(args[6]), int(args[8]), 1
    else:
        y, x, weight, transposed, groups = args[0], args[1], args[2], bool(args[7]), int(args[9])
        passes = int(args[10][0]) + int(args[10][1])
    strides = args[3] if is_forward else args[4]
    where = x if transposed else y
    positions = where.shape[0] * math.prod(where.shape[2:])
    flops = 2.0 * positions * weight.numel() * passes
    is_pointwise = math.prod(weight.shape[2:]) == 1 and max(strides) == 1
    if groups > 1:
        kind = OperatorClass.GROUPED_FORWARD if is_forward else OperatorClass.GROUPED_BACKWARD
    elif is_forward and math.prod(weight.shape[2:]) == 1:
        kind = OperatorClass.POINTWISE_FORWARD
    else:
        kind = OperatorClass.CONVOLUTION
    patch = weight.numel() // weight.shape[0]
    unfolds = groups == 1 and not is_pointwise
    unfolded_bytes = 2.0 * positions * patch * weight.element_size() * passes if unfolds else 0.0
    return OperatorKey(kind, flops, moved_bytes, unfolded_bytes, groups)


def _attention(args: Any, result: Any) -> float:
    query, key, value = args[0], args[1], args[2]
    b, h, s_query, d = query.shape
    return float(2 * b * h * s_query * key.shape[2] * (d + value.shape[3]))


def _attention_backward(args: Any, result: Any) -> float:
    """Scores again, then the gradients of values, probabilities, queries and keys: five products."""
    query, key, value = args[1], args[2], args[3]
    b, h, s_query, d = query.shape
    return float(2 * b * h * s_query * key.shape[2] * (3 * d + 2 * value.shape[3]))


_CONVOLUTIONS = {aten.convolution, aten.convolution_backward}
_PRODUCTS: dict[Any, Callable[[Any, Any], float]] = {
    aten.mm: _mm,
    aten.addmm: _addmm,
    aten.bmm: _bmm,
    aten.baddbmm: _baddbmm,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    aten._scaled_dot_product_efficient_attention: _attention,
    aten._scaled_dot_product_efficient_attention_backward: _attention_backward,
    aten._scaled_dot_product_flash_attention: _attention,
    aten._scaled_dot_product_flash_attention_backward: _attention_backward,
    aten._scaled_dot_product_cudnn_attention: _attention,
    aten._scaled_dot_product_cudnn_attention_backward: _attention_backward,
}
