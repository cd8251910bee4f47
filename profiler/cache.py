"""Profiles kept between runs, under a key of everything that they depend on.

A profile is JSON in the user's cache folder (:mod:`hybridsplit.scenarios.cache_folder`). Its name is a hash of the
scenario's sections that matter, of the files that those name, of the versions of the libraries that do the tracing and
of our own sources: when any of them changes, so does the key, and an old file is never read again. A file that is not
as it was written is dropped, and the model profiled again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from hybridsplit.profiler.batch_worth import measures_noise_scale
from hybridsplit.profiler.costs import NO_WORK, BlockCost, OperatorCost
from hybridsplit.profiler.cuda_memory import CudaMemory
from hybridsplit.profiler.kept_files import keep, kept
from hybridsplit.profiler.own_sources import own_sources
from hybridsplit.profiler.plugin_sources import plugin_sources
from hybridsplit.profiler.profiles import BatchProfile, Choice, FallOrder, ModelProfile
from hybridsplit.scenarios.cache_folder import cache_folder, private_folder
from hybridsplit.scenarios.contracts.sealed import Kind
from hybridsplit.scenarios.schema import Scenario

PROFILE_SCHEMA_VERSION = 9
_KIND = Kind("a kept profile", PROFILE_SCHEMA_VERSION, "it is dropped, and the model is profiled again")
_LIBRARIES = ("torch", "transformers", "peft", "numpy", "networkx")
_OWN_PACKAGES = ("profiler", "runtime", "scenarios")


def profile_key(scenario: Scenario, cuda_devices: Iterable[CudaMemory]) -> str | None:
    """Return the key of a scenario's profile; None where what it depends on cannot be pinned down.

    A checkpoint on the hub can change under its name, so that a profile of it is not kept; neither is one that hangs on
    a plug-in or a function of the user's without a source file.
    """
    model = scenario.model
    named = [model.checkpoint, *scenario.data.named_paths().values()]
    paths = [Path(name) for name in named if name is not None]
    if any(not path.exists() for path in paths):
        return None
    facts = {
        "schema": PROFILE_SCHEMA_VERSION,
        "libraries": {name: version(name) for name in _LIBRARIES},
        "sources": _sources_digest(),
        "model": model.model_dump(mode="json"),
        "data": scenario.data.model_dump(mode="json"),
        "training": scenario.training.model_dump(mode="json"),
        "gradient_split": scenario.objective.gradient_split,
        "noise_scale": measures_noise_scale(scenario),
        "seed": scenario.seed,
        "files": [_stamp(path) for path in paths],
        "cuda": [repr(device) for device in cuda_devices],
        "memory_moves": any(group.memory_trace is not None for group in scenario.clients),
    }
    plugins, own = plugin_sources(scenario), own_sources(scenario)
    if plugins is None or own is None:
        return None
    facts["plugins"], facts["own code"] = plugins, own
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def load_profile(key: str) -> ModelProfile | None:
    """Return the profile of a key; None where there is none, or its file is not as it was written."""
    folder = cache_folder()
    return None if folder is None else kept(folder / "profiles" / f"{key}.json", key, _KIND, _from_json)


def save_profile(key: str, profile: ModelProfile) -> None:
    """Keep a profile; a cache that cannot be written to costs time, not the run."""
    folder = cache_folder()
    if folder is None:
        return
    with contextlib.suppress(OSError):
        document = {"schema_version": PROFILE_SCHEMA_VERSION, **_to_json(profile)}
        keep(private_folder(folder / "profiles") / f"{key}.json", key, document)


@cache
def _sources_digest() -> str:
    digest = hashlib.sha256()
    for package in _OWN_PACKAGES:
        root = Path(__file__).parent.parent / package
        for path in sorted(root.rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _stamp(path: Path) -> list[list[Any]]:
    """Name, size and time of a file, or of all files of a folder."""
    members = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return [[str(member.resolve()), member.stat().st_size, member.stat().st_mtime_ns] for member in members]


def _to_json(profile: ModelProfile) -> dict[str, Any]:
    return {
        "split": profile.split.tolist(),
        "noise_scale": profile.noise_scale,
        "kept": None if profile.kept is None else profile.kept.tolist(),
        "by_batch_size": [[size, _batch_to_json(of_batch)] for size, of_batch in profile.by_batch_size.items()],
    }


def _from_json(document: dict[str, Any]) -> ModelProfile:
    return ModelProfile(
        split=np.array(document["split"]),
        by_batch_size={int(size): _batch_from_json(of_batch) for size, of_batch in document["by_batch_size"]},
        noise_scale=document["noise_scale"],
        kept=None if document["kept"] is None else np.array(document["kept"]),
    )


def _batch_to_json(profile: BatchProfile) -> dict[str, Any]:
    return {
        "smashed_bytes": profile.smashed_bytes,
        "cuts": profile.cuts,
        "costs": _costs_to_json(profile.costs),
        "costs_of_parts": [[number, _costs_to_json(costs)] for number, costs in profile.costs_of_parts.items()],
        "client_peak_bytes": [[*choice, size] for choice, size in profile.client_peak_bytes.items()],
        "server_peak_bytes": [[*choice, size] for choice, size in profile.server_peak_bytes.items()],
        "forwards": [[*choice, counts] for choice, counts in profile.forwards.items()],
        "heads": [_cost_to_json(cost) for cost in profile.heads],
        "label_bytes": profile.label_bytes,
        "mask_bytes": profile.mask_bytes,
        "row_id_bytes": profile.row_id_bytes,
        "row_ids_needed": sorted(profile.row_ids_needed),
        "cuda_peak_bytes": [
            [vars(device), [[*choice, size] for choice, size in peaks.items()]]
            for device, peaks in profile.cuda_peak_bytes.items()
        ],
        "falls": [[*choice, falls] for choice, falls in profile.falls.items()],
        "recompute_gaps": [[*choice, gap] for choice, gap in profile.recompute_gaps.items()],
    }


def _batch_from_json(document: dict[str, Any]) -> BatchProfile:
    return BatchProfile(
        smashed_bytes=tuple(document["smashed_bytes"]),
        cuts=tuple(document["cuts"]),
        costs=_costs_from_json(document["costs"]),
        costs_of_parts={number: _costs_from_json(costs) for number, costs in document["costs_of_parts"]},
        client_peak_bytes=_choices(document["client_peak_bytes"]),
        server_peak_bytes={(cut, mode, head, m): size for cut, mode, head, m, size in document["server_peak_bytes"]},
        forwards={Choice(*choice): tuple(counts) for *choice, counts in document["forwards"]},
        heads=tuple(_cost_from_json(cost) for cost in document["heads"]),
        label_bytes=document["label_bytes"],
        mask_bytes=document["mask_bytes"],
        row_id_bytes=document["row_id_bytes"],
        row_ids_needed=frozenset((cut, mode) for cut, mode in document["row_ids_needed"]),
        cuda_peak_bytes={CudaMemory(**device): _choices(peaks) for device, peaks in document["cuda_peak_bytes"]},
        falls={
            Choice(*choice): tuple(FallOrder(text, tuple(counts), size) for text, counts, size in falls)
            for *choice, falls in document["falls"]
        },
        recompute_gaps={Choice(*choice): gap for *choice, gap in document["recompute_gaps"]},
    )


def _choices(rows: list[list[Any]]) -> dict[Choice, int]:
    return {Choice(*choice): size for *choice, size in rows}


def _costs_to_json(costs: Iterable[BlockCost]) -> dict[str, Any]:
    """Alike blocks share one value, which stands once."""
    costs = list(costs)
    distinct = list({id(cost): cost for cost in costs}.values())
    place = {id(cost): position for position, cost in enumerate(distinct)}
    return {"distinct": [_cost_to_json(cost) for cost in distinct], "blocks": [place[id(cost)] for cost in costs]}


def _costs_from_json(document: dict[str, Any]) -> tuple[BlockCost, ...]:
    distinct = [_cost_from_json(cost) for cost in document["distinct"]]
    return tuple(distinct[position] for position in document["blocks"])


def _cost_to_json(cost: BlockCost) -> dict[str, Any]:
    return {
        name: {array: values.tolist() for array, values in vars(value).items()}
        if isinstance(value, OperatorCost)
        else value
        for name, value in vars(cost).items()
    }


def _cost_from_json(document: dict[str, Any]) -> BlockCost:
    def operators(arrays: dict[str, list[float]]) -> OperatorCost:
        kinds = {field.name: getattr(NO_WORK, field.name).dtype for field in fields(OperatorCost)}
        return OperatorCost(**{name: np.array(arrays[name], dtype=kind) for name, kind in kinds.items()})

    values: dict[str, Any] = {n: operators(v) if isinstance(v, dict) else v for n, v in document.items()}
    return BlockCost(**values)
