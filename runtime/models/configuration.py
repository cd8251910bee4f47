"""The transformers configuration of a scenario's model: stated by value, or of a checkpoint."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from typing import Any

import transformers

from hybridsplit.runtime.models.blocks import MODEL_FAMILIES
from hybridsplit.runtime.models.precision import build_in_single_precision
from hybridsplit.runtime.models.stated import stated_config
from hybridsplit.runtime.models.weights import head_of
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Model

AUTO_CLASSES: dict[str, Any] = {
    "image-classification": transformers.AutoModelForImageClassification,
    "sequence-classification": transformers.AutoModelForSequenceClassification,
    "causal-lm": transformers.AutoModelForCausalLM,
}
"""Automatic classes of transformers by task."""


def model_config(model: Model, num_labels: int | None = None) -> Any:
    """Return the transformers configuration of a scenario's model, dropout off and embeddings untied.

    Parameters
    ----------
    model
        The scenario's model section.
    num_labels
        Number of classes of the data, for a checkpoint whose head is new.

    Raises
    ------
    ScenarioError
        If the model type is unknown or unsupported, a key does not exist in its configuration, a value is refused, or
        the checkpoint cannot be had.
    """
    config = _config_by_value(model.config) if model.config is not None else _checkpoint_config(model)
    _check_model_type(config.model_type)
    if model.checkpoint is not None and model.task != "causal-lm":
        head_of(model, AUTO_CLASSES[model.task], config, num_labels)
    build_in_single_precision(configurations(config))
    for name, value in list(vars(config).items()):
        # Dropout is off in every mode, so that modes compare and a probe differs from its anchor by the probe alone.
        if "drop" in name and isinstance(value, (int, float)) and not isinstance(value, bool):
            setattr(config, name, type(value)(0))
    config.use_cache = False
    if model.config is not None:
        # A head tied to the embedding would live on both sides of every cut. A checkpoint, which stores one copy, is
        # untied after loading.
        config.tie_word_embeddings = False
    return config


def _check_model_type(model_type: str) -> None:
    known = transformers.models.auto.configuration_auto.CONFIG_MAPPING
    if model_type in known:
        return
    supported = sorted(MODEL_FAMILIES)
    near = difflib.get_close_matches(str(model_type), supported, n=1, cutoff=0.6)
    near = near or difflib.get_close_matches(str(model_type), list(known), n=1, cutoff=0.4)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ScenarioError(
        f"model: found the type {model_type!r}, which transformers {transformers.__version__} does not know{hint}; "
        f"supported are {', '.join(supported)}, and every other model_type whose forward pass can be traced"
    )


def _config_by_value(values: dict[str, Any]) -> Any:
    model_type = values["model_type"]
    _check_model_type(model_type)
    rest = {key: value for key, value in values.items() if key != "model_type"}
    try:
        default = transformers.models.auto.configuration_auto.CONFIG_MAPPING[model_type]()
    except Exception as error:  # a composite of other models has no defaults
        raise ScenarioError(f"model.config: {model_type} cannot be stated by value: {gist(error)}") from error
    valid = set(default.to_dict()) | set(getattr(default, "attribute_map", {})) | {"num_labels"}
    for key in rest:
        if key not in valid:
            near = difflib.get_close_matches(key, valid, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"{type(default).__name__} has no such key"
            raise ScenarioError(f"model.config.{key}: unknown key {key!r}; {hint}")
    try:
        return type(default)(**rest)
    except Exception as error:  # transformers raises many types for a value it refuses
        raise ScenarioError(f"model.config: {type(default).__name__} refuses these values: {gist(error)}") from error


def configurations(config: Any) -> Iterator[Any]:
    """Yield a transformers configuration and all that are nested in it, outermost first."""
    yield config
    for name in getattr(config, "sub_configs", {}):
        nested = getattr(config, name, None)
        if nested is not None:
            yield from configurations(nested)


def _checkpoint_config(model: Model) -> Any:
    try:
        stated_config(str(model.checkpoint))
        return transformers.AutoConfig.from_pretrained(model.checkpoint, trust_remote_code=False)
    except ScenarioError:
        raise
    except Exception as error:  # OSError, hub and network errors of several packages
        raise checkpoint_error(model, error) from error


def checkpoint_error(model: Model, error: Exception) -> ScenarioError:
    """Say why a checkpoint cannot be had, and what to do."""
    if os.path.isdir(str(model.checkpoint)):  # noqa: PTH112
        return ScenarioError(
            f"model.checkpoint: {model.checkpoint}: not a transformers checkpoint ({gist(error)}); "
            "needs a folder with config.json and weights"
        )
    return ScenarioError(
        f"model.checkpoint: {model.checkpoint!r} is no local folder and could not be fetched from the Hugging Face hub "
        f"({gist(error)}); give a local folder, go online, or state the model by value under model.config"
    )


def gist(error: Exception) -> str:
    """The first two lines of a message, on one."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return " ".join(lines[:2])[:240] if lines else type(error).__name__
