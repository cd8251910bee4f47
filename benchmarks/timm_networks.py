"""Which published networks can be planned by their names in timm and torchvision, and how long profiling sixteen takes.

    python -m benchmarks.timm_networks [--names FOLDER] [--write]     a table of networks and cuts, into docs/models.md
    python -m benchmarks.timm_networks --profile [--workers 2]        sixteen networks on both Raspberry Pis, timed
    python -m benchmarks.timm_networks --profile --against CHECKOUT   and beside another build, with equal option tables

``CHECKOUT`` is a folder such as ``git worktree add ../before COMMIT`` leaves; its code profiles the same networks.
Needs ``pip install 'hybridsplit[timm]'``, and ``fastervit`` for three networks. The names are those of torchvision's
published networks and of those that somebody timed on Raspberry Pis (two CSV files). Nothing is downloaded: networks
are built from shapes.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from hybridsplit.profiler.models import traced_model
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.scenarios.errors import HybridSplitError
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario

SHARED = Path(__file__).resolve().parents[2] / "shared/data"
LISTS = {"torchvision": "models/torchvision_params_gmacs.csv", "boards": "measured/raspberry_pi_training_times.csv"}
PAGE = Path(__file__).resolve().parents[1] / "docs/models.md"
BEGIN, END = "<!-- timm networks -->\n", "<!-- end of timm networks -->"
IN_TIMM = {
    "efficientnet_v2_m": "tf_efficientnetv2_m", "maxvit_t": "maxvit_tiny_tf_224", "mnasnet0_75": "mnasnet_075",
    "mobilenet_v2": "mobilenetv2_100", "mobilenet_v3_large": "mobilenetv3_large_100", "regnet_x_16gf": "regnetx_160",
    "regnet_x_32gf": "regnetx_320", "regnet_x_400mf": "regnetx_004", "regnet_x_8gf": "regnetx_080",
    "regnet_y_16gf": "regnety_160", "regnet_y_32gf": "regnety_320", "regnet_y_400mf": "regnety_004",
    "regnet_y_8gf": "regnety_080", "swin_s": "swin_small_patch4_window7_224", "swin_v2_b": "swinv2_base_window8_256",
    "swin_v2_t": "swinv2_tiny_window8_256", "vit_b_16": "vit_base_patch16_224", "vit_b_32": "vit_base_patch32_224",
    "vit_l_16": "vit_large_patch16_224", "wide_resnet101_2": "wide_resnet101_2", "vit_tiny": "vit_tiny_patch16_224",
    "vit_base": "vit_base_patch16_224", "deit_tiny": "deit_tiny_patch16_224", "deit_small": "deit_small_patch16_224",
    "swin_small": "swin_small_patch4_window7_224",
}  # fmt: skip
"""Names of timm that differ from the published ones."""
SIXTEEN = (
    "resnet18", "mobilenetv2_050", "mobilenetv3_small_075", "vit_tiny_patch16_224", "efficientvit_b0",
    "mobilevitv2_050", "fastvit_t8", "convnext_tiny", "deit_tiny_patch16_224", "edgenext_x_small", "efficientnet_b0",
    "swin_small_patch4_window7_224", "inception_next_tiny", "efficientformer_l1", "mnasnet_small", "ghostnetv2_100",
)  # fmt: skip
"""A network of each family that people train on boards."""
_IMAGES = "import torch\ndef images(n, side): return [(torch.zeros(3, side, side, dtype=torch.uint8), i % 10) for i in range(n)]\n"  # noqa: E501


def scenario_of(model: dict[str, Any], side: int, folder: Path) -> Scenario:
    """A scenario of both Raspberry Pis that trains a model on images of a size."""
    (folder / "images.py").write_text(_IMAGES, encoding="utf-8")
    document = {
        "name": "timm",
        "model": {"task": "image-classification", **model},
        "data": {"python": "images.py:images", "arguments": {"n": 48, "side": side}},
        "training": {
            "optimizer": {"name": "sgd", "learning_rate": 0.1}, "batch_size": 16, "local_steps": 1, "rounds": 1,
        },
        "server": {"device": "edge_rtx_3090"},
        "radio": {"link_model": "fixed", "uplink_hz": "20 MHz", "downlink_hz": "20 MHz"},
        "clients": [
            {
                "group": device, "device": device, "memory_budget_bytes": "4 GiB",
                "link": {"uplink_bps_per_hz": 2.0, "downlink_bps_per_hz": 4.0},
            }
            for device in ("rpi4b_8gb", "rpi5_8gb")
        ],
    }  # fmt: skip
    return validate_scenario(document, "timm", folder)


def of_timm(name: str) -> tuple[dict[str, Any], int]:
    """The model section of a network of timm, and the side of its images, pixels."""
    import timm

    side = int(timm.get_pretrained_cfg(name).input_size[-1]) if timm.is_model_pretrained(name) else 224
    return {"config": {"model_type": "timm_wrapper", "architecture": name, "num_labels": 10}}, side


def ways_of(name: str) -> Iterator[tuple[str, dict[str, Any], int]]:
    """How a published network may be stated: by timm's name, by torchvision's, or in a package of its own."""
    import timm
    import torchvision

    in_timm = IN_TIMM.get(name, name)
    if in_timm in timm.list_models():
        yield f"timm `{in_timm}`", *of_timm(in_timm)
    if name in torchvision.models.list_models(module=torchvision.models):
        arguments = {"num_classes": 10} | ({"init_weights": False} if name in ("googlenet",) else {})
        arguments |= {"aux_logits": False} if name == "googlenet" else {}
        yield f"torchvision `{name}`", {"python": f"torchvision.models:{name}", "arguments": arguments}, 224
    if name.startswith("faster_vit") and find_spec("fastervit") is not None:
        own = f"fastervit.models.faster_vit:{name}_224"
        yield f"`python: {own}`", {"python": own, "arguments": {"num_classes": 10}}, 224


def row_of(name: str) -> tuple[str, int, str]:
    """How a network is stated, how many blocks it has, and why none where it cannot be planned."""
    reason = "neither timm nor torchvision has it"
    if name.startswith("faster_vit"):
        reason += "; its own package, fastervit, is not installed"
    with tempfile.TemporaryDirectory() as folder:
        for how, model, side in ways_of(name):
            try:
                blocks = traced_model(scenario_of(model, side, Path(folder))).model.num_blocks
            except HybridSplitError as error:
                reason = f"{how}: {str(error).split('; ')[0][:140]}"
                continue
            return how, blocks, ""
    return "", 0, reason


def published(folder: Path) -> dict[str, list[str]]:
    """Names by list."""
    found: dict[str, list[str]] = {}
    for which, file in LISTS.items():
        with (folder / file).open(newline="", encoding="utf-8") as handle:
            found[which] = list(dict.fromkeys(row["model"] for row in csv.DictReader(handle)))
    return found


def table(names: dict[str, list[str]]) -> Iterator[str]:
    """The counts, and a row a network."""
    rows = {name: row_of(name) for name in dict.fromkeys(name for own in names.values() for name in own)}
    for which, own in names.items():
        able = sum(not rows[name][2] for name in own)
        where = "torchvision published" if which == "torchvision" else "somebody timed on Raspberry Pis"
        yield f"Of {len(own)} networks that {where}, {able} can be planned by name."
        yield ""
    yield "| network | stated as | blocks |"
    yield "|---|---|---|"
    for name, (how, blocks, reason) in sorted(rows.items()):
        yield f"| `{name}` | {how or reason.replace('|', '/')} | {blocks or ''} |"


class Profiled(NamedTuple):
    """A network's option table in short and as a digest, and the seconds and processor seconds that it took."""

    name: str
    what: str
    digest: str
    seconds: float
    cpu_s: float


def profiled(name: str, folder: str) -> Profiled:
    """Profile a network on both boards."""
    start, start_cpu = time.perf_counter(), time.process_time()
    os.environ["XDG_CACHE_HOME"] = folder
    own = Path(tempfile.mkdtemp(dir=folder))
    try:
        options = profile_scenario(scenario_of(*of_timm(name), own)).table
        what = f"{len(options)} options at {options['cut'].nunique()} cuts"
        digest = hashlib.sha256(options.to_json(orient="split", double_precision=15).encode()).hexdigest()
    except HybridSplitError as error:
        what, digest = str(error)[:160], ""
    return Profiled(name, what, digest, time.perf_counter() - start, time.process_time() - start_cpu)


def profile_all(workers: int, *, show: bool) -> list[Profiled]:
    """Profile the sixteen networks, each from nothing but what its process has imported."""
    start = time.perf_counter()
    found: list[Profiled] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
    ):
        for one in pool.map(partial(profiled, folder=folder), SIXTEEN):
            found.append(one)
            if show:
                print(f"{one.name:32} {one.what:36} {one.seconds:6.1f} s, {one.cpu_s:6.1f} processor s", flush=True)
    took = f"{time.perf_counter() - start:.1f} s by {workers} processes, {cpu_s_of(found):.1f} processor s"
    if show:
        print(f"{len(SIXTEEN)} networks in {took}")
    return found


def cpu_s_of(found: list[Profiled]) -> float:
    """Processor seconds of all."""
    return sum(one.cpu_s for one in found)


def profile_elsewhere(checkout: Path, workers: int) -> list[Profiled]:
    """Let the code of another checkout profile the same networks."""
    environment = {**os.environ, "HYBRIDSPLIT_CACHE": "off"}
    own = [str(checkout / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(own)
    command = [sys.executable, __file__, "--profile", "--json", "--workers", str(workers)]
    text = subprocess.run(command, env=environment, cwd=checkout, stdout=subprocess.PIPE, check=True).stdout
    return [Profiled(*one) for one in json.loads(text)]


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=Path, default=SHARED, help="folder of the two lists of names")
    parser.add_argument("--write", action="store_true", help="put the table into docs/models.md")
    parser.add_argument("--profile", action="store_true", help="profile sixteen networks on both Raspberry Pis")
    parser.add_argument("--workers", type=int, default=2, help="with --profile: processes")
    parser.add_argument("--against", type=Path, help="with --profile: a checkout of another build, profiled as well")
    parser.add_argument("--json", action="store_true", help="with --profile: one JSON document instead of a table")
    asked = parser.parse_args()
    if asked.profile:
        found = profile_all(asked.workers, show=not asked.json)
        if asked.json:
            print(json.dumps(found))
        elif asked.against is not None:
            before = profile_elsewhere(asked.against.resolve(), asked.workers)
            unequal = [one.name for one, other in zip(found, before, strict=True) if one.digest != other.digest]
            times = cpu_s_of(before) / cpu_s_of(found)
            print(f"the other build takes {cpu_s_of(before):.1f} processor s, {times:.1f} times as long")
            print(f"option tables {'NOT EQUAL: ' + ', '.join(unequal) if unequal else 'are equal'}")
        return
    lines = list(table(published(asked.names)))
    print("\n".join(lines))
    if asked.write:
        page = PAGE.read_text(encoding="utf-8")
        before, after = page.index(BEGIN) + len(BEGIN), page.index(END)
        PAGE.write_text(page[:before] + "\n".join(lines) + "\n" + page[after:], encoding="utf-8")


if __name__ == "__main__":
    main()
