"""A trained model as files that transformers, PEFT and PyTorch load without anything of ours.

A whole model of transformers is saved as a checkpoint of its class; adapters as PEFT saves them, with the base model
beside them where no checkpoint holds it; a module of the user's own as its state, by its own names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from torch import Tensor, nn

from hybridsplit.runtime.models.adapters import head_names, saved_names
from hybridsplit.runtime.models.configuration import AUTO_CLASSES, configurations
from hybridsplit.runtime.models.own import own_model
from hybridsplit.runtime.models.precision import torch_dtype
from hybridsplit.runtime.models.untied import shared_parameters
from hybridsplit.runtime.models.weights import quietly
from hybridsplit.scenarios.errors import RunError
from hybridsplit.scenarios.schema import Scenario, TrainLora

_WEIGHTS = "model.safetensors"
_BASE = "base"
_PEFT_TASKS = {"sequence-classification": "SEQ_CLS", "causal-lm": "CAUSAL_LM"}


def save_trained(model: nn.Module, scenario: Scenario, folder: Path, label_names: Sequence[str] = ()) -> str:
    """Save a trained model, and return the Python expression that loads it, with ``folder`` for where it is.

    Parameters
    ----------
    model
        The whole model, trained weights in it; it is changed.
    scenario
        What it was built by.
    folder
        Where to; it exists and is empty.
    label_names
        Of the outputs of a head, for the configuration of a model of transformers; numbered where there are none.

    Raises
    ------
    RunError
        If what was saved does not load to the same bits.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch_dtype(scenario.model))
    config = getattr(model, "config", None)
    if scenario.model.python is None and config is not None and label_names and len(label_names) == config.num_labels:
        config.id2label = dict(enumerate(label_names))
        config.label2id = {name: number for number, name in enumerate(label_names)}
    lora = scenario.training.trainable
    if isinstance(lora, TrainLora):
        return _save_adapters(model, lora, scenario, folder)
    if scenario.model.python is not None:
        _save_state(dict(model.state_dict()), folder)
        # Of tensors that the user's module shares, each name has trained weights of its own: assigned, they part.
        apart = ", assign=True" if shared_parameters(own_model(scenario, meta=False)) else ""
        return f'model.load_state_dict(safetensors.torch.load_file(folder + "/{_WEIGHTS}"){apart})'
    return _save_checkpoint(model, scenario, folder, "folder")


def _save_checkpoint(model: Any, scenario: Scenario, folder: Path, where: str) -> str:
    auto = AUTO_CLASSES[scenario.model.task]
    trusts = scenario.model.trust_remote_code
    for config in configurations(model.config):
        # Copies of tied embeddings are trained apart.
        config.tie_word_embeddings = False
    model.config.dtype = torch_dtype(scenario.model)
    with quietly():
        model.save_pretrained(folder)
        again = auto.from_pretrained(folder, trust_remote_code=False) if not trusts else model
    _check_same(model.state_dict(), again.state_dict(), folder)
    return f"transformers.{auto.__name__}.from_pretrained({where}{', trust_remote_code=True' if trusts else ''})"


def _check_same(saved: dict[str, Tensor], loaded: dict[str, Tensor], folder: Path) -> None:
    wrong = [name for name, t in saved.items() if name not in loaded or not torch.equal(t, loaded[name])]
    if wrong:
        raise RunError(
            f"{folder}: {len(wrong)} of {len(saved)} tensors do not load as they were trained, {wrong[0]} first: "
            "likely the model ties weights that are trained apart here; "
            "load the state.safetensors of the run's checkpoint yourself"
        )


def _save_state(state: dict[str, Tensor], folder: Path) -> None:
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in state.items()}, folder / _WEIGHTS)


def _save_adapters(model: Any, lora: TrainLora, scenario: Scenario, folder: Path) -> str:
    """Adapters and the trained head as PEFT saves them, and the base model where it is nobody's checkpoint."""
    task = scenario.model.task
    adapted = [name for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    heads = [] if task == "causal-lm" else [head for head in sorted(head_names(model, task)) if _has_any(model, head)]
    num_labels = _outputs_of(model, heads)
    heads += [name for name in saved_names(model, lora) if name not in heads]
    state = model.state_dict()
    own = {
        f"base_model.model.{_name_of_peft(name)}": tensor
        for name, tensor in state.items()
        if "lora_" in name or any(name.startswith(f"{head}.") for head in heads)
    }
    save_file({name: t.detach().clone().contiguous() for name, t in own.items()}, folder / "adapter_model.safetensors")
    base_state = {name.replace(".base_layer.", "."): t for name, t in state.items() if "lora_" not in name}
    base, loads = str(scenario.model.checkpoint), ""
    if scenario.model.python is not None:
        (folder / _BASE).mkdir()
        _save_state(base_state, folder / _BASE)
        state_of_base = f'safetensors.torch.load_file(folder + "/{_BASE}/{_WEIGHTS}")'
        # The user's module, with the weights that adapters were trained beside.
        base, loads = _BASE, f"(model.load_state_dict({state_of_base}), model)[1]"
    elif not _holds(scenario, base_state, heads, num_labels):
        (folder / _BASE).mkdir()
        loads = _save_base(model, base_state, scenario, folder / _BASE)
        base = _BASE
    LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=adapted,
        lora_dropout=0.0,
        use_dora=lora.dora,
        modules_to_save=heads or None,
        base_model_name_or_path=base,
        task_type=_PEFT_TASKS.get(task) if scenario.model.python is None else None,
        inference_mode=True,
    ).save_pretrained(str(folder))
    loads = loads or f"transformers.{AUTO_CLASSES[task].__name__}.from_pretrained({base!r})"
    return f"peft.PeftModel.from_pretrained({loads}, folder)"


def _name_of_peft(name: str) -> str:
    """Name of an adapter's tensor in PEFT's files: without the adapter's own, and magnitudes (DoRA) are no module."""
    return name.replace(".lora_magnitude_vector.default.weight", ".lora_magnitude_vector").replace(".default.", ".")


def _has_any(model: nn.Module, name: str) -> bool:
    return any(True for _ in model.get_submodule(name).parameters())


def _outputs_of(model: nn.Module, heads: list[str]) -> int | None:
    """How many outputs a head has; None where there is none."""
    names = tuple(f"{head}." for head in heads)
    return next((len(t) for n, t in model.named_parameters() if n.startswith(names) and t.ndim == 2), None)


def _holds(scenario: Scenario, base_state: dict[str, Tensor], heads: list[str], num_labels: int | None) -> bool:
    """Whether the scenario's checkpoint gives all weights of the base but the head and modules trained whole."""
    if scenario.model.checkpoint is None:
        return False
    options = {} if num_labels is None else {"num_labels": num_labels}
    with quietly():
        loaded = AUTO_CLASSES[scenario.model.task].from_pretrained(
            scenario.model.checkpoint, trust_remote_code=False, dtype=torch_dtype(scenario.model), **options
        )
    found = loaded.state_dict()
    return all(
        name in found and torch.equal(tensor, found[name])
        for name, tensor in base_state.items()
        if not any(name.startswith(f"{head}.") for head in heads)
    )


def _save_base(model: Any, base_state: dict[str, Tensor], scenario: Scenario, folder: Path) -> str:
    auto = AUTO_CLASSES[scenario.model.task]
    with quietly(), torch.device("meta"):
        plain = auto.from_config(model.config, trust_remote_code=False)
    plain.load_state_dict(base_state, assign=True, strict=False)
    return _save_checkpoint(plain, scenario, folder, f'folder + "/{_BASE}"')
