"""Which parameters are trained: all, low-rank adapters put into the model, or biases and normalisation."""

from __future__ import annotations

from typing import Any

from torch import nn

from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Trainable, TrainBiasesAndNorms, TrainLora


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
        If LoRA names modules that the model does not have.
    """
    if isinstance(trainable, TrainLora):
        _apply_lora(model, trainable)
        _train_task_head(model, task)
    elif isinstance(trainable, TrainBiasesAndNorms):
        # Biases and normalisation are the parameters with a single dimension, whatever a family names them.
        for parameter in model.parameters():
            parameter.requires_grad_(parameter.dim() == 1)
        _train_task_head(model, task)


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
