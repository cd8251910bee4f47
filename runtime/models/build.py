"""Build a transformers model from a scenario: by configuration or from a checkpoint, with adapters, as blocks."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Iterator
from typing import Any

import torch
import transformers
from torch import nn

from hybridsplit.runtime.models.blocks import MODEL_FAMILIES, Block
from hybridsplit.runtime.models.master_weights import keep_master_weights
from hybridsplit.runtime.models.precision import build_in_single_precision, round_weights, torch_dtype
from hybridsplit.runtime.models.traced.scenario import trace_blocks
from hybridsplit.runtime.models.weights import head_of, load_checkpoint
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Model, Scenario, TrainBiasesAndNorms, TrainLora
from hybridsplit.scenarios.streams import stream_seed

_AUTO_CLASSES: dict[str, Any] = {
    "image-classification": transformers.AutoModelForImageClassification,
    "sequence-classification": transformers.AutoModelForSequenceClassification,
    "causal-lm": transformers.AutoModelForCausalLM,
}


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
        head_of(model, _AUTO_CLASSES[model.task], config, num_labels)
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
        raise ScenarioError(f"model.config: {model_type} cannot be stated by value: {_gist(error)}") from error
    valid = set(default.to_dict()) | set(getattr(default, "attribute_map", {})) | {"num_labels"}
    for key in rest:
        if key not in valid:
            near = difflib.get_close_matches(key, valid, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"{type(default).__name__} has no such key"
            raise ScenarioError(f"model.config.{key}: unknown key {key!r}; {hint}")
    try:
        return type(default)(**rest)
    except Exception as error:  # transformers raises many types for a value it refuses
        raise ScenarioError(f"model.config: {type(default).__name__} refuses these values: {_gist(error)}") from error


def configurations(config: Any) -> Iterator[Any]:
    """Yield a transformers configuration and all that are nested in it, outermost first."""
    yield config
    for name in getattr(config, "sub_configs", {}):
        nested = getattr(config, name, None)
        if nested is not None:
            yield from configurations(nested)


def _checkpoint_config(model: Model) -> Any:
    try:
        return transformers.AutoConfig.from_pretrained(model.checkpoint, trust_remote_code=False)
    except Exception as error:  # OSError, hub and network errors of several packages
        raise _checkpoint_error(model, error) from error


def _checkpoint_error(model: Model, error: Exception) -> ScenarioError:
    if os.path.isdir(str(model.checkpoint)):  # noqa: PTH112
        return ScenarioError(
            f"model.checkpoint: {model.checkpoint}: not a transformers checkpoint ({_gist(error)}); "
            "needs a folder with config.json and weights"
        )
    return ScenarioError(
        f"model.checkpoint: {model.checkpoint!r} is no local folder and could not be fetched from the Hugging Face hub "
        f"({_gist(error)}); give a local folder, go online, or state the model by value under model.config"
    )


def _gist(error: Exception) -> str:
    """The first two lines of a message, on one."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return " ".join(lines[:2])[:240] if lines else type(error).__name__


def build_blocks(scenario: Scenario, *, num_labels: int | None = None, meta: bool = False) -> list[Block]:
    """Build the scenario's model and return its blocks, adapters applied and trainable parameters marked.

    Parameters
    ----------
    scenario
        The scenario; its seed draws the weights of a model by value and of new heads and adapters.
    num_labels
        Number of classes of the data.
    meta
        Build on the meta device: shapes without storage, for the profiler.

    Raises
    ------
    ScenarioError
        As :func:`model_config`, and if LoRA names modules that the model does not have.
    ProfileError
        If the model's type has no declared block list and its forward pass cannot be traced.
    """
    config = model_config(scenario.model, num_labels)
    longest = getattr(config, "max_position_embeddings", None)
    if longest is not None and (scenario.training.sequence_length or 0) > longest:
        raise ScenarioError(
            f"training.sequence_length: found {scenario.training.sequence_length}; this model "
            f"has positions for {longest} tokens"
        )
    model = build_model(scenario, config, meta=meta)
    if config.model_type in MODEL_FAMILIES:
        blocks = MODEL_FAMILIES[config.model_type].decompose(model, scenario.model.task)
        untie(blocks)
    else:
        blocks = trace_blocks(scenario, model, model if meta else build_model(scenario, config, meta=True))
    if scenario.model.has_master_weights:
        for block in blocks:
            keep_master_weights(block)
            block.reads_in = torch_dtype(scenario.model)
    return blocks


def build_model(scenario: Scenario, config: Any, *, meta: bool) -> Any:
    """Return the whole model as transformers gives it, adapters applied and trainable parameters marked.

    Parameters
    ----------
    scenario
        The scenario.
    config
        As :func:`model_config` gives it.
    meta
        Build on the meta device.

    Raises
    ------
    ScenarioError
        As :func:`build_blocks`.
    """
    auto = _AUTO_CLASSES[scenario.model.task]
    _name_class(config, auto)
    # A model without a declared kernel keeps the attention that transformers chooses: not every model has every kind.
    family = MODEL_FAMILIES.get(config.model_type)
    attention = None if family is None else family.attention
    device = torch.device("meta") if meta else contextlib.nullcontext()
    with torch.random.fork_rng(devices=[]), device:
        torch.manual_seed(stream_seed(scenario.seed, "weights"))
        try:
            if scenario.model.checkpoint is None:
                model = auto.from_config(config, attn_implementation=attention, trust_remote_code=False)
            else:
                model = load_checkpoint(scenario.model, auto, config, attention, meta=meta)
        except ScenarioError:
            raise
        except OSError as error:
            raise _checkpoint_error(scenario.model, error) from error
        except Exception as error:  # transformers and safetensors raise many types
            raise ScenarioError(
                f"model: {config.model_type} with these settings cannot be built for {scenario.model.task}: "
                f"{_gist(error)}"
            ) from error
        if isinstance(scenario.training.trainable, TrainLora):
            _apply_lora(model, scenario.training.trainable)
            _train_task_head(model, scenario.model.task)
        elif isinstance(scenario.training.trainable, TrainBiasesAndNorms):
            # Biases and normalisation are the parameters with a single dimension, whatever a family names them.
            for parameter in model.parameters():
                parameter.requires_grad_(parameter.dim() == 1)
            _train_task_head(model, scenario.model.task)
    round_weights(model, torch_dtype(scenario.model))
    return model


def _name_class(config: Any, auto: Any) -> None:
    """Choose the first of several classes a type has for a task, where the configuration names none."""
    classes = auto._model_mapping.get(type(config), None)
    if isinstance(classes, tuple) and not config.architectures:
        config.architectures = [classes[0].__name__]


def _apply_lora(model: nn.Module, lora: TrainLora) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    try:
        inject_adapter_in_model(
            LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=list(lora.target_modules), lora_dropout=0.0),
            model,
        )
    except ValueError as error:
        linear = sorted(
            {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, nn.Linear)}
        )
        raise ScenarioError(
            f"training.trainable.target_modules: found {', '.join(lora.target_modules)}; "
            f"this model's linear modules are {', '.join(linear)}"
        ) from error
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


def _train_task_head(model: Any, task: str) -> None:
    """A classification head starts random, so it is trained whole in any case; a language-model head is not."""
    if task == "causal-lm":
        return
    for name, child in model.named_children():
        if name != model.base_model_prefix:
            for parameter in child.parameters():
                parameter.requires_grad_(True)


def untie(blocks: list[Block]) -> list[str]:
    """Give every block its own copy of a parameter it shares with an earlier block; return the names of the copies.

    A tensor on both sides of a cut would need its gradients exchanged every step. Untying it for every cut alike keeps
    the trained model independent of the cut.
    """
    owner: dict[int, int] = {}
    copies: list[str] = []
    for index, block in enumerate(blocks):
        for module_name, module in block.named_modules():
            for name, parameter in list(module._parameters.items()):
                if parameter is None:
                    continue
                if owner.setdefault(id(parameter), index) != index:
                    copy = nn.Parameter(parameter.detach().clone(), requires_grad=parameter.requires_grad)
                    module._parameters[name] = copy
                    copies.append(f"blocks.{index}.{module_name}.{name}")
    return copies
