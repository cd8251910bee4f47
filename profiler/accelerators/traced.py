"""Layer lists of torch models: traced, with what an accelerator does in one layer put into one.

Pooling goes into the convolution after it, batch normalisation and activation into the one before it, and a sum or
concatenation into the layer that reads it. What no layer of an accelerator can state is named, operation by operation;
what a list can state and a chip does not support (a stride of 2, another activation) is named when it is priced.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from hybridsplit.scenarios.contracts.files import write_text_whole
from hybridsplit.scenarios.errors import ProfileError
from hybridsplit.scenarios.inference.layers import INPUT, LayerList
from hybridsplit.scenarios.inference.networks import checked_network

_CONVOLUTIONS = {nn.Conv2d: "conv2d", nn.Conv1d: "conv1d", nn.ConvTranspose2d: "conv-transpose2d"}
_POOLS = {
    nn.MaxPool1d: "max", nn.MaxPool2d: "max", nn.AvgPool1d: "average", nn.AvgPool2d: "average",
    nn.AdaptiveAvgPool1d: "average", nn.AdaptiveAvgPool2d: "average",
}  # fmt: skip
_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Flatten)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_ADDS = (operator.add, operator.iadd, torch.add, "add", "add_")
_FLATTENS = (torch.flatten, "flatten", "view", "reshape")
_ACTIVATIONS = {
    nn.ReLU: "relu", F.relu: "relu", torch.relu: "relu", "relu": "relu", torch.abs: "abs", "abs": "abs",
    nn.GELU: "gelu", F.gelu: "gelu", nn.SiLU: "silu", F.silu: "silu", nn.Sigmoid: "sigmoid",
    torch.sigmoid: "sigmoid", "sigmoid": "sigmoid", nn.Tanh: "tanh", torch.tanh: "tanh", nn.ReLU6: "relu6",
    F.relu6: "relu6", nn.Hardswish: "hardswish", F.hardswish: "hardswish", nn.LeakyReLU: "leaky-relu",
}  # fmt: skip


def layer_list(model: nn.Module, extent: Sequence[int], name: str, weight_bits: int = 8) -> LayerList:
    """Return the layer list of a torch model.

    Parameters
    ----------
    model
        The model; neither it nor its weights are changed, and it is not run.
    extent
        Channels and length, or channels, rows and columns of its input.
    name
        Name of the list.
    weight_bits
        Width that weights are to have.

    Raises
    ------
    ProfileError
        If the model cannot be traced, or does what no layer of an accelerator does; the message names each operation.
    ScenarioError
        If the layers do not go together.
    """
    shapeless = copy.deepcopy(model).to("meta").eval()
    try:
        traced = fx.symbolic_trace(shapeless)
        ShapeProp(traced).propagate(torch.zeros(1, *extent, device="meta"))
    except Exception as error:
        raise ProfileError(
            f"model {name}: cannot be traced ({str(error).splitlines()[0][:200]}); needs a forward pass without "
            f"control flow that follows values, on input of shape {list(extent)}"
        ) from error
    listing = _Listing(traced, weight_bits)
    for node in traced.graph.nodes:
        listing.take(node)
    if listing.faults:
        raise ProfileError(f"model {name}: an accelerator has no layer for {'; '.join(listing.faults)}")
    document = {"model": name, "source": f"traced from {type(model).__name__}", "input": list(extent),
                "layers": listing.layers}  # fmt: skip
    return checked_network(document, f"model {name}")


def save_layer_list(network: LayerList, path: Path) -> None:
    """Write a layer list as YAML, for scenarios to name.

    Parameters
    ----------
    network
        The list.
    path
        The file.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    values = network.model_dump(mode="json", exclude_defaults=True)
    write_text_whole(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


class _Pending:
    """A value that a later layer has yet to read: names of outputs, how they are joined, and pooling after that."""

    def __init__(self, inputs: Sequence[str], join: str | None = None, pool: dict[str, Any] | None = None) -> None:
        self.inputs, self.join, self.pool = list(inputs), join, pool or {}

    @property
    def keys(self) -> dict[str, Any]:
        """What the layer that reads it states."""
        keys: dict[str, Any] = {"inputs": self.inputs, **self.pool}
        if self.join is not None:
            keys["join"] = self.join
            if self.pool and self.join == "add":
                keys["joins_before_pooling"] = True
        return keys

    @property
    def is_plain(self) -> bool:
        """Whether it is the output of one layer as it is."""
        return self.join is None and not self.pool


class _Listing:
    """Turns the nodes of a traced graph into layers."""

    def __init__(self, traced: fx.GraphModule, weight_bits: int) -> None:
        self._modules = dict(traced.named_modules())
        self._bits = weight_bits
        self._values: dict[fx.Node, _Pending] = {}
        self.layers: list[dict[str, Any]] = []
        self.faults: list[str] = []

    def take(self, node: fx.Node) -> None:
        """Take one node."""
        if node.op == "placeholder":
            self._values[node] = _Pending([INPUT])
        elif node.op == "output":
            self._finish(node)
        elif node.op in ("call_module", "call_function", "call_method"):
            what: Any = self._modules[str(node.target)] if node.op == "call_module" else node.target
            self._call(node, what)

    def _call(self, node: fx.Node, what: Any) -> None:
        kind = type(what) if isinstance(what, nn.Module) else what
        given = [one for one in node.all_input_nodes if one in self._values]
        if not given:
            return
        first = given[0]
        if kind in _CONVOLUTIONS:
            self._convolution(node, what, _CONVOLUTIONS[kind])
        elif kind is nn.Linear:
            if len(first.meta["tensor_meta"].shape) > 2:
                self._fault(node, "Linear on more than one position")
                return
            keys = {"op": "linear", "out": what.out_features, "bias": what.bias is not None}
            self._write(node, self._read(first, pools=False), keys)
        elif kind in _POOLS or kind in (F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d):
            self._pool(node, what, kind, first)
        elif isinstance(what, _NORMS) or kind in _ACTIVATIONS:
            self._after(node, first, _ACTIVATIONS.get(kind))
        elif isinstance(what, _NOTHING) or kind in _FLATTENS:
            self._values[node] = self._values[first]
        elif kind in _ADDS and len(given) == len(node.args) == 2:
            inputs = [self._settled(one) for one in given]
            self._values[node] = _Pending(inputs, "add")
        elif kind is torch.cat:
            self._values[node] = _Pending([self._settled(one) for one in given], "concat")
        elif kind not in ("size", getattr):
            self._fault(node, getattr(kind, "__name__", str(kind)))
            self._values[node] = self._values[first]

    def _convolution(self, node: fx.Node, module: Any, op: str) -> None:
        source = node.all_input_nodes[0]
        faults = [
            f"{key.replace('_', ' ')} {getattr(module, key)}"
            for key in ("kernel_size", "padding", "stride", "dilation")
            if isinstance(getattr(module, key), str) or len(set(getattr(module, key))) > 1
        ]
        if getattr(module, "padding_mode", "zeros") != "zeros":
            faults.append(f"padding mode {module.padding_mode}")
        if faults:
            self._fault(node, f"{type(module).__name__} with {' and '.join(faults)}")
            self._values[node] = self._values[source]
            return
        keys = {
            "op": op, "out": module.out_channels, "kernel": module.kernel_size[0], "pad": module.padding[0],
            "stride": module.stride[0], "dilation": module.dilation[0], "groups": module.groups,
            "bias": module.bias is not None,
        }  # fmt: skip
        self._write(node, self._read(source), {key: value for key, value in keys.items() if value not in (0, False)})

    def _pool(self, node: fx.Node, what: Any, kind: Any, source: fx.Node) -> None:
        before, after = (list(one.meta["tensor_meta"].shape[2:]) for one in (source, node))
        extents = {size // left if size % left == 0 else -1 for size, left in zip(before, after, strict=True)}
        is_adaptive = "adaptive" in getattr(kind, "__name__", "").lower()
        if is_adaptive and len(extents) == 1 and -1 not in extents:
            extent = stride = extents.pop()
        elif not is_adaptive and isinstance(what, nn.Module):
            sizes = {*_tuple(what.kernel_size)}
            strides = {*_tuple(what.stride or what.kernel_size)}
            pads = {*_tuple(what.padding)}
            if len(sizes) > 1 or len(strides) > 1 or pads != {0} or what.ceil_mode:
                self._fault(node, f"{type(what).__name__} with padding, ceil mode or unlike sides")
                self._values[node] = self._values[source]
                return
            extent, stride = sizes.pop(), strides.pop()
        else:
            self._fault(node, getattr(kind, "__name__", str(kind)))
            self._values[node] = self._values[source]
            return
        pending = self._values[source]
        if pending.pool:
            pending = _Pending([self._settled(source)])
        average = _POOLS.get(kind, "average" if "avg" in str(kind) else "max")
        keys: dict[str, Any] = {"pool": int(extent), **({"pool_stride": int(stride)} if stride != extent else {})}
        keys |= {"pool_kind": average} if average != "max" else {}
        self._values[node] = _Pending(pending.inputs, pending.join, keys)

    def _after(self, node: fx.Node, source: fx.Node, activation: str | None) -> None:
        """Put normalisation or an activation into the layer before it, or into one of its own."""
        pending = self._values[source]
        is_last = pending.is_plain and self.layers and pending.inputs == [self.layers[-1]["name"]]
        if is_last and self.layers[-1]["activation"] == "none" and (len(source.users) == 1 or activation is None):
            if activation is not None:
                self.layers[-1]["activation"] = activation
            elif self.layers[-1]["op"] == "pass":
                self._fault(node, "batch normalisation without a convolution before it")
            else:
                self.layers[-1]["bias"] = True
            self._values[node] = pending
        elif activation is None:
            self._fault(node, "batch normalisation without a convolution before it")
            self._values[node] = pending
        else:
            self._write(node, pending, {"op": "pass"})
            self.layers[-1]["activation"] = activation

    def _finish(self, node: fx.Node) -> None:
        results = node.all_input_nodes
        if len(results) != 1:
            self.faults.append(f"{len(results)} results; needs one")
        elif results[0] in self._values and not self._values[results[0]].is_plain:
            self._settled(results[0])

    def _read(self, source: fx.Node, *, pools: bool = True) -> _Pending:
        pending = self._values[source]
        return pending if pools or not pending.pool else _Pending([self._settled(source)])

    def _settled(self, source: fx.Node) -> str:
        """Return the name of a layer whose output a value is, with a layer of its own where it needs one."""
        pending = self._values[source]
        if not pending.is_plain:
            self._write(source, pending, {"op": "pass"})
        return self._values[source].inputs[0]

    def _write(self, node: fx.Node, read: _Pending, keys: dict[str, Any]) -> None:
        name = f"{len(self.layers)}-{node.name}"[:64]
        bits = {"weight_bits": self._bits} if keys["op"] != "pass" else {}
        self.layers.append({"name": name, **keys, **read.keys, **bits, "activation": "none"})
        self._values[node] = _Pending([name])

    def _fault(self, node: fx.Node, words: str) -> None:
        where = str(node.target) if node.op == "call_module" else node.name
        self.faults.append(f"{where}: {words}")


def _tuple(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (int(value),)
