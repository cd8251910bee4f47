"""Which parameters are trained: all, low-rank adapters put into the model, or biases and normalisation."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Trainable, TrainBiasesAndNorms, TrainLora
from hybridsplit.scenarios.sections.training import ALL_LINEAR


def mark_trainable(model: nn.Module, trainable: Trainable, task: str) -> None:
    """Put adapters into a model where the scenario wants them, and mark what is trained.

    Parameters
    ----------
    model
        The whole model; changed.
    trainable
        What the scenario trains.
    task
        The scenario's task; a classification head is trained in any case.

    Raises
    ------
    ScenarioError
        If LoRA names modules that the model does not have or PEFT cannot adapt, or a rank does not fit.
    """
    if isinstance(trainable, TrainLora):
        _apply_lora(model, trainable, task)
        _train_task_head(model, task)
    elif isinstance(trainable, TrainBiasesAndNorms):
        # Biases and normalisation are the parameters with a single dimension, whatever a family names them.
        for parameter in model.parameters():
            parameter.requires_grad_(parameter.dim() == 1)
        _train_task_head(model, task)


def _apply_lora(model: nn.Module, lora: TrainLora, task: str) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    targets = _targets(model, lora, task)
    try:
        with warnings.catch_warnings():
            # PEFT tells how it sets an option for layers that store their weights transposed.
            warnings.simplefilter("ignore")
            config = LoraConfig(
                r=lora.rank,
                lora_alpha=lora.alpha,
                target_modules=targets,
                lora_dropout=0.0,
                use_dora=lora.dora,
            )
            inject_adapter_in_model(config, model)
    except (ValueError, NotImplementedError, TypeError) as error:
        grouped = _grouped(model, targets, lora.rank)
        if grouped is not None:
            name, groups = grouped
            raise ScenarioError(
                f"training.trainable.rank: found {lora.rank}; {name} is a convolution in {groups} groups, of "
                f"which the rank must be a multiple: state {-(-lora.rank // groups) * groups}, or leave it out of "
                "target_modules"
            ) from error
        raise ScenarioError(
            f"training.trainable.target_modules: found {', '.join(targets)}; PEFT cannot adapt all of these "
            f"({' '.join(str(error).split())[:200]}); this model's linear modules are {', '.join(_offered(model))}"
        ) from error
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    for name in saved_names(model, lora):
        model.get_submodule(name).requires_grad_(True)


def saved_names(model: nn.Module, lora: TrainLora) -> list[str]:
    """Return the names of the modules that are trained whole beside the adapters, outermost only.

    Parameters
    ----------
    model
        The whole model, adapters in it.
    lora
        What the scenario states.

    Raises
    ------
    ScenarioError
        If a stated name is that of no module with parameters, of one that has an adapter inside, or of one whose
        weights another module shares.
    """
    found: list[str] = []
    for stated in lora.modules_to_save or ():
        own = [name for name, _ in model.named_modules() if name == stated or name.endswith(f".{stated}")]
        where = f"training.trainable.modules_to_save: found {stated!r}"
        if not any(True for name in own for _ in model.get_submodule(name).parameters()):
            kinds = sorted({name.rsplit(".", 1)[-1] for name, m in model.named_modules() if _has_own(m)})
            raise ScenarioError(
                f"{where}, which names no module with parameters; modules of this model are {', '.join(kinds[:24])}"
            )
        for name in own:
            inside = dict(model.get_submodule(name).named_parameters())
            if adapted := next((key for key in inside if "lora_" in key or "base_layer" in key), None):
                raise ScenarioError(
                    f"{where}, and {name} has an adapter inside ({adapted}); a module is trained whole or by an "
                    "adapter: take it out of target_modules or of this list"
                )
            shared = {id(parameter) for parameter in inside.values()}
            for key, parameter in model.named_parameters(remove_duplicate=False):
                if id(parameter) in shared and not key.startswith(f"{name}."):
                    raise ScenarioError(
                        f"{where}, whose weights {key} shares: they would be trained apart here, and together "
                        "elsewhere; leave it out"
                    )
        found += own
    return [name for name in dict.fromkeys(found) if not any(name.startswith(f"{other}.") for other in found)]


def _has_own(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))


def _targets(model: nn.Module, lora: TrainLora, task: str) -> list[str]:
    """Names of the modules that get an adapter; every name that is stated must be one of the model's."""
    if lora.target_modules == ALL_LINEAR:
        head = head_names(model, task)
        return [name for name, module in model.named_modules() if _is_linear(module) and not _is_inside(name, head)]
    if lora.target_modules is None:
        return _targets_of_peft(model)
    for target in lora.target_modules:
        if not any(name == target or name.endswith(f".{target}") for name, _ in model.named_modules()):
            raise ScenarioError(
                f"training.trainable.target_modules: found {target!r}, which names no module of this model; its linear "
                f"modules are {', '.join(_offered(model))} ({ALL_LINEAR!r} takes all but the head)"
            )
    return list(lora.target_modules)


def _targets_of_peft(model: Any) -> list[str]:
    """The modules that PEFT adapts in a model of this type where nobody names any."""
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as TARGETS

    model_type = str(getattr(getattr(model, "config", None), "model_type", type(model).__name__))
    if model_type not in TARGETS:
        raise ScenarioError(
            f"training.trainable.target_modules: PEFT has no choice of its own for {model_type}; state names of linear "
            f"modules, of {', '.join(_offered(model))}, or {ALL_LINEAR!r} for all but the head"
        )
    return list(TARGETS[model_type])


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, (nn.Linear, Conv1D))


def _offered(model: nn.Module) -> list[str]:
    return sorted({name.rsplit(".", 1)[-1] for name, module in model.named_modules() if _is_linear(module)})


def head_names(model: Any, task: str) -> set[str]:
    """Return the names of the modules that are a model's head; of a module of the user's own, its last linear module.

    Parameters
    ----------
    model
        The whole model.
    task
        The scenario's task.
    """
    if not isinstance(model, PreTrainedModel):
        linear = [name for name, module in model.named_modules() if _is_linear(module)]
        return set(linear[-1:])
    if task != "causal-lm":
        return {name for name, _ in model.named_children() if name != model.base_model_prefix}
    output = model.get_output_embeddings()
    return {name for name, child in model.named_children() if any(module is output for module in child.modules())}


def _is_inside(name: str, heads: set[str]) -> bool:
    return any(name == head or name.startswith(f"{head}.") for head in heads)


def _grouped(model: nn.Module, targets: list[str], rank: int) -> tuple[str, int] | None:
    """A convolution among the targets whose groups do not divide the rank, and its groups."""
    for name, module in model.named_modules():
        is_target = any(name == target or name.endswith(f".{target}") for target in targets)
        if is_target and isinstance(module, nn.modules.conv._ConvNd) and rank % module.groups:
            return name, module.groups
    return None


def _train_task_head(model: Any, task: str) -> None:
    """A classification head starts random, so it is trained whole in any case; a language-model head is not."""
    if task == "causal-lm":
        return
    heads = head_names(model, task)
    for name, parameter in model.named_parameters():
        if _is_inside(name, heads):
            parameter.requires_grad_(True)
