"""Tables of numbers: what is read, how labels and test files count, and what is refused by its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hybridsplit as hs
from hybridsplit.runtime.data.labels import class_labels
from hybridsplit.runtime.data.sources import Dataset, load_dataset
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import validate_scenario

NET = "from torch import nn\ndef make(): return nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 3))\n"
FRAME = pd.DataFrame({"height": np.arange(60.0) ** 2, "width": -np.arange(60), "kind": [*"bac"] * 20})
Load = Callable[..., Dataset]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    (tmp_path / "net.py").write_text(NET)

    def loaded(path: str, *, model: Any = None, **keys: Any) -> Dataset:
        text = hs.load("quickstart").resolved()
        text["model"] = {"task": "classification", "python": "net.py:make"} | (model or {})
        text["training"] |= {"batch_size": 2}
        text["data"] = {"source": "number-table", "path": path, "label_column": "kind"} | keys
        scenario = validate_scenario(text, "test", tmp_path)
        return load_dataset(scenario)

    return loaded


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet"])
def test_every_kind_of_file_holds_the_same_numbers(load: Load, tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        FRAME.to_parquet(tmp_path / name)
    else:
        FRAME.to_csv(tmp_path / name, index=False, sep="\t" if name.endswith("tsv") else ",")
    found = load(name, standardise=False)
    parts = (found.train, found.test)
    rows = {tuple(x.tolist()): int(y) for part in parts for x, y in zip(part.inputs, part.labels, strict=True)}
    expected = {(float(h), float(w)): "abc".index(kind) for h, w, kind in FRAME.itertuples(index=False)}
    assert rows == expected
    assert found.num_classes == 3
    assert len(found.test) == 12


def test_columns_are_standardised_by_the_training_file_alone(load: Load, tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "test.csv").write_text("height,width,kind\n1000000,0,a\n0,0,c\n0,0,c\n")
    found = load("t.csv", test_path="test.csv")
    assert (len(found.train), len(found.test)) == (60, 3)
    assert torch.allclose(found.train.inputs.mean(0), torch.zeros(2), atol=1e-6)
    assert torch.allclose(found.train.inputs.std(0, correction=0), torch.ones(2), atol=1e-6)
    height = FRAME["height"]
    assert float(found.test.inputs[0, 0]) == pytest.approx((1e6 - height.mean()) / height.std(ddof=0), rel=1e-6)
    assert found.test.labels.tolist() == [0, 2, 2]


@pytest.mark.parametrize(
    ("text", "keys", "says"),
    [
        ("a,kind\n1,x\n?,y\n1,x\n1,y\n", {}, r"line 3 has '\?' in the column 'a'; needs finite numbers"),
        ("a,kind\n1,x\ninf,y\n1,x\n1,y\n", {}, "line 3 has 'inf'"),
        ("a,kind\n1,x\n,y\n1,x\n1,y\n", {}, "data.columns: .*line 3 has no 'a'"),
        ("a,kind\n1,x\n1,\n", {}, "data.label_column: .*line 3 has no 'kind'"),
        ("a,kind\n1,x\n2,y\n", {"columns": ["b"]}, "data.columns: found 'b'; .*has the columns a, kind"),
        ("a,kind\n1,x\n2,y\n", {"columns": ["a", "kind"]}, "not the label"),
        ("kind\nx\ny\n", {}, "found no column beside the label 'kind'"),
        ("a,kind\n1,x\n2,y\n", {"test_path": "gone.csv"}, "data.test_path: no such file"),
        ("a,kind\n1,x\n2,y\n1,x\n2,y\n", {"test_path": "other.csv"}, "line 2 of .*other.csv has 'x' in the column 'a'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_line(load: Load, tmp_path: Path, text: str, keys: Any, says: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    (tmp_path / "other.csv").write_text("a,kind\nx,x\n")
    with pytest.raises(ScenarioError, match=says):
        load("t.csv", **keys)


def test_a_file_that_is_no_parquet_is_refused(load: Load, tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1 nothing of the kind PAR1")
    with pytest.raises(ScenarioError, match=r"data.path: .*t.parquet: not a readable Parquet file"):
        load("t.parquet")


@given(st.lists(st.sampled_from(["ash", "Elm", "oak 2", "été", "x-1"]), min_size=6, max_size=30))
def test_names_are_numbered_in_sorted_order_without_gaps(names: list[str]) -> None:
    classes, number = class_labels(names, "labels", str)
    assert [sorted(set(names))[i] for i in classes.tolist()] == names
    assert number == len(set(names)) == len(set(classes.tolist()))


@given(st.lists(st.integers(0, 5), min_size=6, max_size=30), st.sampled_from([int, float, str]))
def test_whole_numbers_are_the_classes(numbers: list[int], kind: Any) -> None:
    classes, number = class_labels([kind(n) for n in numbers], "labels", str)
    assert (classes.tolist(), number) == (numbers, max(numbers) + 1)


@pytest.mark.parametrize("missing", ["", "nan", "NaN", "None", "NA", "null", "inf", "0.5", "-1"])
def test_what_is_missing_or_no_class_is_neither(missing: str) -> None:
    for values in ([missing, "a", "b", "a"], [missing, 0, 1, 0], [missing] * 4):
        with pytest.raises(ScenarioError, match=rf"^labels: 0 has the label '{missing}'"):
            class_labels(values, "labels", str)
