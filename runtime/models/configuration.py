"""The transformers configuration of a scenario's model: stated by value, or of a checkpoint."""

from __future__ import annotations

import contextlib
import copy
import difflib
import inspect
import os
import re
from collections.abc import Iterator
from typing import Any

import transformers

from hybridsplit.runtime.models.blocks import MODEL_FAMILIES
from hybridsplit.runtime.models.effects import check_head, refuse_other_mathematics, settle
from hybridsplit.runtime.models.keys import check_keys
from hybridsplit.runtime.models.precision import build_in_single_precision
from hybridsplit.runtime.models.stated import stated_config
from hybridsplit.runtime.models.timm_networks import TIMM, check_timm_name, timm_channels
from hybridsplit.runtime.models.weights import head_of, quietly
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Model
from hybridsplit.scenarios.scores import SINGLE_LABEL

AUTO_CLASSES: dict[str, Any] = {
    "image-classification": transformers.AutoModelForImageClassification,
    "sequence-classification": transformers.AutoModelForSequenceClassification,
    "causal-lm": transformers.AutoModelForCausalLM,
}
"""Automatic classes of transformers by task."""
_OF_SHAPES = re.compile(r"\b(shapes?|sizes?|dim|dimensions?|channels|match)\b")


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
    by_value = model.config is not None
    config = _config_by_value(model) if by_value else _checkpoint_config(model)
    if not runs_own_code(config, model):
        _check_model_type(config.model_type)
    if not by_value and model.task != "causal-lm":
        head_of(model, AUTO_CLASSES[model.task], config, num_labels)
    check_head(config, model, _where(model))
    if model.problem_type != SINGLE_LABEL:
        config.problem_type = model.problem_type
    _check_stages(config, _where(model))
    build_in_single_precision(configurations(config))
    settle(configurations(config), untied=by_value)
    return config


def runs_own_code(config: Any, model: Model) -> bool:
    """Whether a checkpoint's configuration names Python code for its model, and the scenario lets it run.

    Parameters
    ----------
    config
        The configuration.
    model
        The scenario's model section.
    """
    return model.trust_remote_code and AUTO_CLASSES[model.task].__name__ in (getattr(config, "auto_map", None) or {})


def _check_stages(config: Any, where: str) -> None:
    """Refuse lists of one entry a stage that disagree: transformers builds the stages of the shortest, or fails later.

    Which lists have one entry a stage is known by the configuration's own defaults.
    """
    for one in configurations(config):
        lengths = _lengths_by_stage(one)
        with contextlib.suppress(Exception):  # not every configuration has defaults
            default = _lengths_by_stage(type(one)())
            lengths = {} if len(set(default.values())) > 1 else {n: k for n, k in lengths.items() if n in default}
        if len(set(lengths.values())) > 1 or 0 in lengths.values():
            found = " and ".join(f"{name} has {length}" for name, length in lengths.items())
            raise ScenarioError(
                f"{where}depths: {found} entries; each needs one entry a stage of the model, and there is at least one "
                "stage"
            )


def _lengths_by_stage(config: Any) -> dict[str, int]:
    own = {name: getattr(config, name, None) for name in ("depths", "hidden_sizes", "num_attention_heads")}
    lengths = {name: len(values) for name, values in own.items() if isinstance(values, (list, tuple))}
    return lengths if "depths" in lengths else {}


def image_channels(config: Any, otherwise: int) -> int:
    """Return the channels of the images that a model takes, from the configuration that states them.

    Parameters
    ----------
    config
        A transformers configuration; of several, the image tower's is nested in it.
    otherwise
        Channels where none states them.
    """
    if (of_timm := timm_channels(config)) is not None:
        return of_timm
    for one in configurations(config):
        for name in ("num_channels", "in_channels", "in_chans"):
            if isinstance(found := getattr(one, name, None), int):
                return found
    return otherwise


def vocabulary_of(config: Any) -> int | None:
    """Return how many tokens a text model knows; None where any number is one, as CANINE's characters.

    Parameters
    ----------
    config
        A transformers configuration; of several, the text model's is nested in it.
    """
    found = getattr(config.get_text_config(), "vocab_size", None)
    return found if isinstance(found, int) else None


def longest_sequence(config: Any) -> int | None:
    """Return the most tokens for which a configuration states positions; None where it states no limit.

    Parameters
    ----------
    config
        A transformers configuration; of several, the text model's is nested in it.
    """
    longest = getattr(config.get_text_config(), "max_position_embeddings", None)
    return longest if isinstance(longest, int) and longest > 0 else None


def classifies_before_padding(config: Any) -> bool:
    """Whether a text classifier finds the last token before the padding by the configuration's ``pad_token_id``.

    Parameters
    ----------
    config
        A transformers configuration.
    """
    classes = AUTO_CLASSES["sequence-classification"]._model_mapping.get(type(config), None)
    chosen = classes[0] if isinstance(classes, (tuple, list)) else classes
    return chosen is not None and "pad_token_id" in inspect.getsource(chosen.forward)


def _where(model: Model) -> str:
    return "model.config." if model.config is not None else f"model.checkpoint: {model.checkpoint}: config.json: "


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


def _config_by_value(model: Model) -> Any:
    assert model.config is not None
    model_type = model.config["model_type"]
    _check_model_type(model_type)
    rest = {key: value for key, value in model.config.items() if key != "model_type"}
    config_class = transformers.models.auto.configuration_auto.CONFIG_MAPPING[model_type]
    if model_type == TIMM:
        check_timm_name(rest)
    refuse_other_mathematics(rest, model, _where(model), by_value=True)
    check_keys(rest, config_class)
    try:
        # Some configurations write into the mappings they are given. Special tokens that nobody stated are those of
        # the type's usual vocabulary: that they lie beyond a smaller one is nothing to be told.
        with contextlib.nullcontext() if any(key.endswith("_token_id") for key in rest) else quietly():
            return config_class(**copy.deepcopy(rest))
    except Exception as error:  # transformers raises many types for a value it refuses
        raise ScenarioError(f"model.config: {config_class.__name__} refuses these values: {gist(error)}") from error


def configurations(config: Any) -> Iterator[Any]:
    """Yield a transformers configuration and all that are nested in it, outermost first."""
    yield config
    for name in getattr(config, "sub_configs", {}):
        nested = getattr(config, name, None)
        if nested is not None:
            yield from configurations(nested)


def _checkpoint_config(model: Model) -> Any:
    try:
        stated = stated_config(str(model.checkpoint), trusts_code=model.trust_remote_code)
        refuse_other_mathematics(stated, model, _where(model), by_value=False)
        return transformers.AutoConfig.from_pretrained(model.checkpoint, trust_remote_code=model.trust_remote_code)
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


def is_of_shapes(said: str) -> bool:
    """Whether PyTorch says that shapes do not go together, which is a matter of the scenario."""
    return _OF_SHAPES.search(said) is not None


def gist(error: Exception) -> str:
    """The first two lines of a message, on one."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return " ".join(lines[:2])[:240] if lines else type(error).__name__
