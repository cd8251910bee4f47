"""Weights of a checkpoint: all of the model's own are there and fit, and only a head that is missing is drawn.

Both the real weights and shapes alone are loaded by transformers, so that what a run refuses a plan refuses.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from hybridsplit.scenarios.errors import InputWarning, ScenarioError
from hybridsplit.scenarios.schema import Model
from hybridsplit.scenarios.scores import SINGLE_LABEL

_WRAPPERS = {"_orig_mod.": "torch.compile", "module.": "torch.nn.DataParallel", "_forward_module.": "a trainer"}
"""Prefixes that wrappers of a model leave in the keys of what is saved through them."""
_MOST_KEYS = 4
_POOLER = "pooler"


def load_checkpoint(model: Model, auto: Any, config: Any, attention: str | None, *, meta: bool) -> Any:
    """Load a checkpoint's weights in single precision.

    Parameters
    ----------
    model
        The scenario's model section, which names the checkpoint.
    auto
        The automatic class of the task.
    config
        The model's configuration.
    attention
        Kernel of its attention by transformers' name; None to let transformers choose.
    meta
        Load shapes alone, to the meta device. A checkpoint of the hub that is not on this machine is not fetched for
        that; the model is then built from its configuration.

    Raises
    ------
    ScenarioError
        If weights of the model are missing, or are there and have no place in it, or have other shapes.
    OSError
        If the checkpoint has no weights in safetensors.
    """
    where = str(model.checkpoint)
    if meta and not _is_here(where):
        return auto.from_config(config, attn_implementation=attention, trust_remote_code=model.trust_remote_code)
    with quietly():
        loaded, info = auto.from_pretrained(
            where, config=config, attn_implementation=attention, use_safetensors=True, dtype=torch.float32,
            ignore_mismatched_sizes=True, output_loading_info=True, trust_remote_code=model.trust_remote_code,
            device_map="meta" if meta else None,
        )  # fmt: skip
    _check_fit(model, loaded, info)
    return loaded


def head_of(model: Model, auto: Any, config: Any, num_classes: int | None) -> None:
    """Give a configuration the size of its classification head: the checkpoint's own, or as many classes as the data.

    Parameters
    ----------
    model
        The scenario's model section, which names the checkpoint.
    auto
        The automatic class of the task.
    config
        The checkpoint's configuration; changed.
    num_classes
        Classes of the data; None where they are not known.

    Raises
    ------
    ScenarioError
        If the checkpoint's head has fewer classes than the data, or another number of labels or numbers.
    """
    if num_classes is None:
        return
    if not _has_head(auto, config):
        config.num_labels = num_classes
    elif model.problem_type != SINGLE_LABEL and config.num_labels != num_classes:
        raise ScenarioError(
            f"model.checkpoint: {model.checkpoint} was trained for {config.num_labels} labels or numbers; the data has "
            f"{num_classes}: give data with as many, or a checkpoint without a classification head, whose head is "
            "then drawn for the data"
        )
    elif config.num_labels < num_classes:
        raise ScenarioError(
            f"model.checkpoint: {model.checkpoint} was trained for {config.num_labels} classes; the data has "
            f"{num_classes} (labels 0 to {num_classes - 1}): give data with no more classes than that, or a checkpoint "
            "without a classification head, whose head is then drawn for the data"
        )


def _has_head(auto: Any, config: Any) -> bool:
    """Whether the checkpoint was saved with a head for the task."""
    if named := (getattr(config, "auto_map", None) or {}).get(auto.__name__):
        return str(named).rpartition(".")[2] in (config.architectures or ())
    classes = auto._model_mapping.get(type(config), ())
    classes = classes if isinstance(classes, (tuple, list)) else (classes,)
    return not {one.__name__ for one in classes}.isdisjoint(config.architectures or ())


def _is_here(where: str) -> bool:
    """Whether the weights of a checkpoint are on this machine."""
    if Path(where).is_dir():
        return True
    names = transformers.utils.SAFE_WEIGHTS_NAME, transformers.utils.SAFE_WEIGHTS_INDEX_NAME
    with contextlib.suppress(Exception):
        return any(
            transformers.utils.cached_file(
                where, name, local_files_only=True, _raise_exceptions_for_missing_entries=False
            )
            for name in names
        )
    return False


def _check_fit(model: Model, loaded: Any, info: dict[str, Any]) -> None:
    missing, unexpected = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    mismatched = sorted(info["mismatched_keys"])
    base = f"{loaded.base_model_prefix}."
    if mismatched:
        found = [f"{key} ({_by(there)}, needs {_by(needed)})" for key, there, needed in mismatched]
        raise ScenarioError(
            f"model.checkpoint: {model.checkpoint}: {_some(found, 'weights')} of another shape than config.json says; "
            "likely config.json belongs to another checkpoint"
        )
    absent = [key for key in missing if key.startswith(base) and _POOLER not in key]
    if absent:
        wrapper = next((p for p in _WRAPPERS if unexpected and all(key.startswith(p) for key in unexpected)), None)
        advice = (
            "likely config.json belongs to another checkpoint"
            if wrapper is None
            else f"its keys start with {wrapper!r}, as {_WRAPPERS[wrapper]} leaves them: save the model inside it, or "
            "rename the keys"
        )
        raise ScenarioError(
            f"model.checkpoint: {model.checkpoint}: lacks {_some(absent, 'weights')} of the model"
            f"{_and_holds(unexpected)}; {advice}"
        )
    left_over = [key for key in unexpected if key.startswith(base) and _POOLER not in key]
    if left_over:
        raise ScenarioError(
            f"model.checkpoint: {model.checkpoint}: holds {_some(left_over, 'weights')} that the model of its "
            "config.json has no place for; likely config.json belongs to another checkpoint, or an adapter was not "
            "merged into the weights"
        )
    if missing:
        warnings.warn(
            f"model.checkpoint: {model.checkpoint} has no {_some(missing, 'weights')}: drawn from the seed",
            InputWarning,
            stacklevel=2,
        )


def _and_holds(unexpected: Sequence[str]) -> str:
    return f", and holds {_some(unexpected, 'others')}" if unexpected else ""


def _some(keys: Collection[str], what: str) -> str:
    """A few keys by name, and how many there are."""
    shown = ", ".join(list(keys)[:_MOST_KEYS])
    return shown if len(keys) <= _MOST_KEYS else f"{len(keys)} {what} ({shown}, ...)"


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Within it, transformers draws no bars and prints no report: what matters is said in our words."""
    verbosity = transformers.logging.get_verbosity()
    showed_bars = transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(verbosity)
        if showed_bars:
            transformers.logging.enable_progress_bar()
