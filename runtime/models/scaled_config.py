"""A transformers configuration made deeper or shallower, wider or narrower, or with other kernels.

Factors apply to the keys by which configurations state layers, hidden sizes and kernels, under the names that each type
gives them (its ``attribute_map``). What follows from them in the model itself needs no key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hybridsplit.runtime.models.configuration import model_config
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.sections.model import Model

_STAGES = "depths"
_LAYERS = ("num_hidden_layers", "encoder_layers", "decoder_layers")
_WIDTHS = (
    "hidden_size", "hidden_sizes", "intermediate_size", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim", "d_ff",
    "n_inner", "hidden_dim", "embed_dim", "embedding_size", "neck_hidden_sizes", "word_embed_proj_dim",
)  # fmt: skip
_KERNELS = ("conv_kernel_size", "kernel_size", "kernel_sizes", "conv_kernel", "conv_kernel_sizes")
_OWN_FACTORS = {"depth": ("depth_coefficient",), "width": ("width_coefficient", "depth_multiplier"), "kernel": ()}
"""Keys by which a type multiplies itself; MobileNet's ``depth_multiplier`` is one of channels."""
_FALLBACK_MULTIPLE = 4
_WORDS = {"depth": "number of layers", "width": "hidden size", "kernel": "kernel size"}


def scaled_config(model: Model, *, depth: float = 1.0, width: float = 1.0, kernel: float = 1.0) -> dict[str, Any]:
    """Return a model's configuration by value, scaled.

    Parameters
    ----------
    model
        A model that is stated by ``config``.
    depth
        Factor of the number of layers, or of those of every stage; at least one is left.
    width
        Factor of hidden sizes. A size that attention heads share becomes a multiple of twice their number (so that
        rotary embeddings still have pairs), any other one a multiple of 4.
    kernel
        Factor of kernel sizes, which become odd.

    Raises
    ------
    ScenarioError
        If the configuration is refused, or states nothing that a factor could apply to.
    """
    assert model.config is not None
    config = model_config(model)
    changes: dict[str, Any] = {}
    for name, factor in (("depth", depth), ("width", width), ("kernel", kernel)):
        if factor != 1:
            found = _scaled(config, name, factor)
            if not found:
                raise ScenarioError(
                    f"{name}: {model.config['model_type']} states no {_WORDS[name]} in its configuration; state the "
                    "keys that differ by value (config), or use a model of your own (model.python)"
                )
            changes |= found
    return {**_under_own_names(model.config, config), **changes}


def _scaled(config: Any, name: str, factor: float) -> dict[str, Any]:
    """Return the keys that a factor changes, under the names that the type gives them."""
    own = _stated(config, _OWN_FACTORS[name])
    if own:
        return {key: value * factor for key, value in own.items()}
    if name == "depth":
        layers = _stated(config, (_STAGES,)) or _stated(config, _LAYERS)
        return {key: _each(value, lambda one, _: max(1, round(one * factor))) for key, value in layers.items()}
    if name == "kernel":
        return {
            key: _each(value, lambda one, _: _odd(one * factor)) for key, value in _stated(config, _KERNELS).items()
        }
    heads = getattr(config, "num_attention_heads", None)
    sizes = _stated(config, _WIDTHS)
    changes = {
        key: _each(value, lambda one, place: _multiple(one * factor, _shared_by(heads, place)))
        for key, value in sizes.items()
    }
    return changes | _head_size(config, changes)


def _head_size(config: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the size of a head in proportion, for the types that state it beside the hidden size."""
    key = config.attribute_map.get("hidden_size", "hidden_size")
    stated = _stated(config, ("head_dim",))
    if not stated or key not in changes:
        return {}
    ((name, size),) = stated.items()
    return {name: max(2, 2 * round(size * changes[key] / config.hidden_size / 2))}


def _under_own_names(stated: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Return keys under the names that the type gives them, so that a scaled one takes the place of the stated one."""
    return {config.attribute_map.get(key, key): value for key, value in stated.items()}


def _stated(config: Any, keys: Sequence[str]) -> dict[str, Any]:
    """Return the values of the keys that a configuration has as numbers, or lists of numbers."""
    found: dict[str, Any] = {}
    for key in keys:
        value = getattr(config, key, None)
        # A list as MobileBERT's or GPT-2's, a number, or nothing that could be multiplied.
        numbers = value if isinstance(value, (list, tuple)) and value else [value]
        if all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in numbers):
            found[config.attribute_map.get(key, key)] = value
    return found


def _each(value: Any, change: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [change(one, place) for place, one in enumerate(value)]
    return change(value, 0)


def _shared_by(heads: Any, place: int) -> int:
    """Return what a hidden size has to be a multiple of."""
    if isinstance(heads, (list, tuple)):
        heads = heads[min(place, len(heads) - 1)]
    return 2 * heads if isinstance(heads, int) and heads > 0 else _FALLBACK_MULTIPLE


def _multiple(size: float, of: int) -> int:
    return of * max(1, round(size / of))


def _odd(size: float) -> int:
    return max(1, 2 * round((size - 1) / 2) + 1)
