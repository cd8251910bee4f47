"""States on disk, as safetensors: the global one, and the optimizer states of clients where they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hybridsplit.runtime.split.parts import State

_STATE = "state.safetensors"
_OPTIMIZERS = "optimizers.safetensors"


def save_states(folder: Path, state: State, optimizer_states: Mapping[str, State]) -> None:
    """Write states into a folder that exists.

    Parameters
    ----------
    folder
        Where to.
    state
        The global state.
    optimizer_states
        By client; no file is written where there are none.
    """
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / _STATE)
    # A client's name holds no slash, so that the first one divides it from the entry's name.
    kept = {f"{client}/{name}": tensor for client, own in optimizer_states.items() for name, tensor in own.items()}
    if kept:
        save_file({name: tensor.contiguous() for name, tensor in kept.items()}, folder / _OPTIMIZERS)


def kept_clients(folder: Path) -> list[str]:
    """Return whose optimizer states :func:`save_states` wrote, without reading them.

    Raises
    ------
    OSError, SafetensorError
        If the file is damaged.
    """
    if not (folder / _OPTIMIZERS).is_file():
        return []
    with safe_open(folder / _OPTIMIZERS, "pt") as file:
        return list(dict.fromkeys(name.split("/", 1)[0] for name in file.keys()))  # noqa: SIM118


def load_states(folder: Path) -> tuple[State, dict[str, State]]:
    """Read what :func:`save_states` wrote.

    Raises
    ------
    OSError, SafetensorError
        If a file is missing or damaged.
    """
    optimizer_states: dict[str, State] = {}
    if (folder / _OPTIMIZERS).is_file():
        for name, tensor in load_file(folder / _OPTIMIZERS).items():
            client, entry = name.split("/", 1)
            optimizer_states.setdefault(client, {})[entry] = tensor
    return load_file(folder / _STATE), optimizer_states
