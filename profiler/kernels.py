"""Where the kernels of a device differ in what they keep: attention, and the statistics of normalisation.

Each attention function has the signature of ``torch.nn.functional.scaled_dot_product_attention`` (PyTorch 2.13) and
follows its selection rules for one device: the CPU's fused kernel where it applies and plain products otherwise; on
CUDA flash attention for half precision without a mask, the memory-efficient kernel for everything else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

aten = torch.ops.aten
_HALF = (torch.float16, torch.bfloat16)


class AttentionKernel(Protocol):
    """Scaled dot-product attention of queries, keys and values, [B, H, S, D] each."""

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Return the attended values."""
        ...


def cpu_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention as the CPU computes it: [B, H, S, D], as the queries are.

    Arguments as of ``torch.nn.functional.scaled_dot_product_attention``.
    """
    mask = _additive(attn_mask, query)
    fused = (
        _fused_allowed()
        and query.dim() == 4
        and query.shape[-1] == key.shape[-1] == value.shape[-1]
        and key.shape[1] == value.shape[1]
        # The kernel shares a key head among a group of query heads itself.
        and (query.shape[1] == key.shape[1] or (enable_gqa and query.shape[1] % key.shape[1] == 0))
        and (mask is None or not mask.requires_grad)
    )
    if not fused:
        return _plain(query, key, value, mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa)
    result = aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, dropout_p, is_causal, attn_mask=mask, scale=scale
    )
    return _tensor(result[0])


def cuda_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention as a CUDA device of compute capability 8.0 or more computes it: [B, H, S, D], as the queries are.

    Arguments as of ``torch.nn.functional.scaled_dot_product_attention``.
    """
    mask = _additive(attn_mask, query)
    groups = query.shape[1] // key.shape[1]
    if not _fused_allowed():
        return _plain(query, key, value, mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa)
    if query.dtype in _HALF and mask is None:
        return _flash(query, key, value, dropout_p, is_causal=is_causal, scale=scale)
    if groups > 1:
        # The memory-efficient kernel knows no groups: keys and values are repeated.
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    needs_backward = torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value))
    result = aten._scaled_dot_product_efficient_attention(
        query, key, value, mask, needs_backward, dropout_p, is_causal, scale=scale
    )
    return _tensor(result[0])


def _flash(
    query: Tensor, key: Tensor, value: Tensor, dropout_p: float, *, is_causal: bool, scale: float | None
) -> Tensor:
    width = query.shape[-1]
    missing = -width % 8
    if missing:
        # The kernel takes head sizes in steps of eight.
        query, key, value = (torch.nn.functional.pad(t, (0, missing)) for t in (query, key, value))
        scale = scale if scale is not None else 1.0 / math.sqrt(width)
    result = aten._scaled_dot_product_flash_attention(query, key, value, dropout_p, is_causal, False, scale=scale)
    return _tensor(result[0])[..., :width]


def _fused_allowed() -> bool:
    """Whether the caller has not asked for plain products; PyTorch keeps one switch for all devices."""
    return bool(torch.backends.cuda.flash_sdp_enabled())  # type: ignore[no-untyped-call]


def _plain(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
) -> Tensor:
    result = aten._scaled_dot_product_attention_math(
        query, key, value, mask, 0.0, is_causal, None, scale=scale, enable_gqa=enable_gqa
    )
    return _tensor(result[0])


def _additive(mask: Tensor | None, like: Tensor) -> Tensor | None:
    """A boolean mask becomes one that is added to the scores, as inside PyTorch's own function."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.where(mask.logical_not(), -math.inf, torch.zeros((), dtype=like.dtype, device=like.device))


def _tensor(value: object) -> Tensor:
    assert isinstance(value, Tensor)
    return value


@dataclass(frozen=True)
class Kernels:
    """Kernels of a kind of device.

    Parameters
    ----------
    attention
        What computes scaled dot-product attention.
    wide_statistics
        Whether normalisation keeps mean and deviation in single precision when its input is in half precision.
    evaluation_statistics
        Whether batch norm gives a mean and a deviation a channel in evaluation as well.
    """

    attention: AttentionKernel
    wide_statistics: bool
    evaluation_statistics: bool


CPU_KERNELS = Kernels(cpu_attention, wide_statistics=False, evaluation_statistics=False)
CUDA_KERNELS = Kernels(cuda_attention, wide_statistics=True, evaluation_statistics=True)


def as_on_device(func: Any, args: Sequence[Any], result: Any, kernels: Kernels) -> Any:
    """Return what an operator gives on the device that is meant, where the meta device gives other shapes or strides.

    Parameters
    ----------
    func, args
        The operator, and what it was called with.
    result
        What the meta device gave.
    kernels
        Those of the device.
    """
    if func is aten.native_layer_norm.default and not kernels.wide_statistics:
        # The meta device gives single precision.
        output, mean, deviation = result
        return output, mean.to(output.dtype), deviation.to(output.dtype)
    if func is aten.native_batch_norm.default:
        output, mean, deviation = result
        if not (args[5] or kernels.evaluation_statistics):
            # The meta device gives a mean and a deviation a channel in evaluation, too.
            return output, mean.new_empty(0), deviation.new_empty(0)
        if args[1] is not None and not kernels.wide_statistics:
            return output, mean.to(args[1].dtype), deviation.to(args[1].dtype)
    if func is aten.native_layer_norm_backward.default and result[0] is not None and not result[0].is_contiguous():
        # The meta device keeps the strides of its input; devices write in row-major order.
        return torch.empty_like(result[0], memory_format=torch.contiguous_format), *result[1:]
    return result
