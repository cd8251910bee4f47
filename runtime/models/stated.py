"""What a checkpoint's files state, read as plain JSON before anything is built: code of its own is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import transformers

from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.shown import shown

_CODE = "auto_map"
_ADAPTER = "adapter_config.json"


def stated_config(checkpoint: str, *, trusts_code: bool = False) -> dict[str, Any]:
    """Return what a checkpoint's ``config.json`` states.

    Parameters
    ----------
    checkpoint
        A local folder, or a name on the hub.
    trusts_code
        Whether the scenario lets Python code run that comes with it.

    Raises
    ------
    ScenarioError
        If it is an adapter, or names Python code of its own.
    Exception
        What transformers raises where there is no such checkpoint.
    """
    _refuse_adapter(Path(checkpoint))
    stated, _ = transformers.PreTrainedConfig.get_config_dict(checkpoint)
    for path, code in () if trusts_code else occurrences(stated, _CODE):
        raise _own_code(f"model.checkpoint: {checkpoint}: config.json", path, code)
    return dict(stated)


def check_tokenizer(folder: str) -> None:
    """Refuse a tokenizer that names Python code of its own.

    Parameters
    ----------
    folder
        A local folder, or a name on the hub.

    Raises
    ------
    ScenarioError
        If its ``tokenizer_config.json``, or a ``config.json`` beside it, names code for the tokenizer.
    """
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    for path, code in occurrences(get_tokenizer_config(folder), _CODE):
        raise _own_code(f"data.tokenizer: {folder}: tokenizer_config.json", path, code)
    if not (Path(folder) / "config.json").is_file():
        return
    stated, _ = transformers.PreTrainedConfig.get_config_dict(folder)
    for path, code in occurrences(stated, _CODE):
        if isinstance(code, Mapping) and "AutoTokenizer" in code:
            raise _own_code(f"data.tokenizer: {folder}: config.json", path, code)


def occurrences(stated: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield where a key is stated in nested mappings and lists, as a dotted path, and its value.

    Parameters
    ----------
    stated
        Plain JSON or YAML.
    key
        The key.
    """
    if isinstance(stated, Mapping):
        for name, value in stated.items():
            if name == key and value:
                yield key, value
            else:
                yield from ((f"{name}.{path}", found) for path, found in occurrences(value, key))
    elif isinstance(stated, list):
        for index, value in enumerate(stated):
            yield from ((f"{index}.{path}", found) for path, found in occurrences(value, key))


def _own_code(where: str, path: str, code: Any) -> ScenarioError:
    values = list(code.values()) if isinstance(code, Mapping) else code if isinstance(code, list) else [code]
    named = next((value for value in values if isinstance(value, str)), str(code))
    return ScenarioError(
        f"{where}: {path} names Python code that comes with the folder ({shown(named, 80)}); such code is never run "
        "unless the scenario states model.trust_remote_code: true. If transformers' own code fits these weights, "
        f"remove {path!r} from a copy of the file; otherwise read it and state that key, or use another checkpoint"
    )


def _refuse_adapter(folder: Path) -> None:
    if (folder / _ADAPTER).is_file():
        raise ScenarioError(
            f"model.checkpoint: {folder}: found {_ADAPTER}: these are weights of a PEFT adapter, not of a model; merge "
            "them into their base model with PEFT's merge_and_unload(), save that, and give its folder (new adapters "
            "are trained with training.trainable: {method: lora})"
        )
