"""Saved data sets of the library ``datasets``: its type of labels names them, and splits are used or named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import hybridsplit as hs
from hybridsplit.runtime.data.sources import Dataset, load_dataset
from hybridsplit.runtime.models.saved import save_trained
from hybridsplit.scenarios.errors import InputWarning
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.scores import MULTI_LABEL, REGRESSION, SINGLE_LABEL

datasets = pytest.importorskip("datasets")
NAMES = ["zebra", "ant", "cat"]
"""Not in sorted order: ClassLabel numbers them as they stand."""
NUMBERS = [[float(i), float(i % 5)] for i in range(60)]
NET = "from torch import nn\ndef make(outputs): return nn.Sequential(nn.Linear(2, 4), nn.Linear(4, outputs))\n"


def saved(folder: Path, labels: list[Any], feature: Any, **splits: range) -> None:
    features = datasets.Features(
        {"features": datasets.Sequence(datasets.Value("float32")), "label": feature},
    )
    whole = datasets.Dataset.from_dict({"features": NUMBERS, "label": labels}, features=features)
    parts = {name: whole.select(rows) for name, rows in splits.items()}
    (datasets.DatasetDict(parts) if parts else whole).save_to_disk(str(folder / "saved"))


def scenario(folder: Path, kind: str, outputs: int) -> Scenario:
    (folder / "net.py").write_text(NET, encoding="utf-8")
    text = hs.load("quickstart").resolved()
    text["model"] = {
        "task": "classification", "problem_type": kind, "python": "net.py:make", "arguments": {"outputs": outputs},
    }  # fmt: skip
    text["training"] |= {"batch_size": 2}
    text["data"] = {"source": "saved-dataset", "path": "saved"}
    return validate_scenario(text, "test", folder)


def by_row(found: Dataset) -> dict[float, Any]:
    """Labels by the first number of their row."""
    return {
        float(x[0]): y.tolist()
        for part in (found.train, found.test)
        for x, y in zip(part.inputs, part.labels, strict=True)
    }


def test_numbers_of_classes_have_the_names_of_their_type(tmp_path: Path) -> None:
    labels = [i % 2 for i in range(60)]  # no sample is of the last class
    saved(tmp_path, labels, datasets.ClassLabel(names=NAMES))
    found = load_dataset(scenario(tmp_path, SINGLE_LABEL, 3))
    assert found.train.label_names == tuple(NAMES)
    assert found.num_classes == 3
    assert by_row(found) == {float(i): label for i, label in enumerate(labels)}


def test_lists_of_classes_are_several_labels(tmp_path: Path) -> None:
    labels = [[], [2], [0, 1], [1]] * 15
    saved(tmp_path, labels, datasets.Sequence(datasets.ClassLabel(names=NAMES)))
    found = load_dataset(scenario(tmp_path, MULTI_LABEL, 3))
    assert found.train.label_names == tuple(NAMES)
    assert by_row(found) == {float(i): [float(k in row) for k in range(3)] for i, row in enumerate(labels)}


def test_numbers_to_predict_have_no_names(tmp_path: Path) -> None:
    saved(tmp_path, [i % 3 for i in range(60)], datasets.ClassLabel(names=NAMES))
    found = load_dataset(scenario(tmp_path, REGRESSION, 1))
    assert found.train.label_names == ("label",)
    assert found.num_classes == 1


def test_names_of_classes_are_in_the_exported_configuration(tmp_path: Path) -> None:
    from hybridsplit.runtime.models.build import build_whole
    from hybridsplit.testing.families import family_scenario

    saved(tmp_path, [i % 3 for i in range(60)], datasets.ClassLabel(names=NAMES))
    names = load_dataset(scenario(tmp_path, SINGLE_LABEL, 3)).train.label_names
    text = family_scenario("vit").resolved()
    text["model"]["config"]["num_labels"] = 3
    of_transformers = validate_scenario(text, "vit")
    out = tmp_path / "out"
    out.mkdir()
    save_trained(build_whole(of_transformers)[0].eval(), of_transformers, out, names)
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert config["id2label"] == {"0": "zebra", "1": "ant", "2": "cat"}


def test_splits_that_are_passed_over_are_named(tmp_path: Path) -> None:
    saved(tmp_path, [i % 3 for i in range(60)], datasets.ClassLabel(names=NAMES), train=range(40), validation=range(20))
    with pytest.warns(InputWarning, match="no split called test, .*passed over: validation"):
        found = load_dataset(scenario(tmp_path, SINGLE_LABEL, 3))
    assert len(found.train) + len(found.test) == 40
