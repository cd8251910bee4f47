"""What is likely wrong with tables and classes is said, though it can be trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hybridsplit as hs
from hybridsplit.profiler.data_check import check_data
from hybridsplit.runtime.data.labels import class_doubts
from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.scenarios.errors import InputWarning, ScenarioError
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario

NET = "from torch import nn\ndef make(inputs=2): return nn.Sequential(nn.Linear(inputs, 4), nn.Linear(4, 4))\n"
FRAME = pd.DataFrame({"height": np.arange(60.0), "width": -np.arange(60), "kind": [*"bac"] * 20})


def scenario(folder: Path, path: str = "t.csv", **keys: Any) -> Scenario:
    (folder / "net.py").write_text(NET, encoding="utf-8")
    text = hs.load("quickstart").resolved()
    text["model"] = {"task": "classification", "python": "net.py:make"}
    text["training"] |= {"batch_size": 2}
    text["data"] = {"source": "number-table", "path": path, "label_column": "kind"} | keys
    return validate_scenario(text, "test", folder)


@given(st.lists(st.integers(0, 5), min_size=1), st.lists(st.integers(0, 5), min_size=1))
def test_doubts_are_about_classes_of_the_test_set_alone_and_a_first_one_that_is_empty(
    train: list[int], test: list[int]
) -> None:
    found = class_doubts(torch.tensor(train), torch.tensor(test), ())
    assert len(found) == (not set(test) <= set(train)) + (0 not in {*train, *test})
    named = class_doubts(torch.tensor(train), torch.tensor(test), "abcdef")
    assert len(named) == (not set(test) <= set(train))


def test_a_class_of_the_test_data_alone_is_named(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    FRAME.assign(kind=[*"abz"] * 20).to_csv(tmp_path / "test.csv", index=False)
    with pytest.warns(InputWarning, match="no training sample has the class 'z', which 20 of the 60 test samples"):
        check_data(scenario(tmp_path, test_path="test.csv"), None)


def test_labels_that_begin_at_one_are_told(tmp_path: Path) -> None:
    FRAME.assign(kind=[1, 2, 3] * 20).to_csv(tmp_path / "t.csv", index=False)
    with pytest.warns(InputWarning, match="labels begin at 1"):
        check_data(scenario(tmp_path), None)


def test_an_index_without_a_name_is_told(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "t.csv")
    with pytest.warns(InputWarning, match="a column without a name is taken as numbers"):
        found = load_dataset(scenario(tmp_path))
    assert found.train.inputs.shape[1] == 3
    assert load_dataset(scenario(tmp_path, columns=["height", "width"])).train.inputs.shape[1] == 2


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_lists_of_numbers_are_as_many_columns(tmp_path: Path, name: str) -> None:
    """Next to a plain column, in the order of the columns."""
    pairs = [[float(i), float(i) ** 2] for i in range(60)]
    frame = pd.DataFrame({"one": np.arange(60.0), "pair": pairs, "kind": FRAME["kind"]})
    if name.endswith("parquet"):
        frame.to_parquet(tmp_path / name)
    else:
        frame.to_csv(tmp_path / name, index=False)
    found = load_dataset(scenario(tmp_path, name, standardise=False))
    rows = sorted(x.tolist() for part in (found.train, found.test) for x in part.inputs)
    assert rows == [[float(i), float(i), float(i) ** 2] for i in range(60)]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([[1.0, 2.0], [1.0]] * 30, "row 1 has 1 numbers in the column 'pair', the first row has 2"),
        ([[1.0, float("nan")]] * 60, "needs finite numbers"),
        ([["a", "b"]] * 60, "needs finite numbers"),
        ([[]] * 60, "needs finite numbers"),
    ],
)
def test_lists_that_are_no_numbers_of_one_length_are_refused(tmp_path: Path, rows: list[Any], says: str) -> None:
    pd.DataFrame({"pair": rows, "kind": FRAME["kind"]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ScenarioError, match=says):
        load_dataset(scenario(tmp_path, "t.parquet"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("height;width;kind\n1;2;a\n", "has the columns height;width;kind; needs commas between names"),
        ("height, width, kind\n1, 2, a\n", "' kind' has blanks around its name"),
        ("height,width,kinds\n1,2,a\n", "did you mean 'kinds'"),
        ("height,width,colour\n1,2,a\n", r"has the columns height, width, colour$"),
    ],
)
def test_a_column_that_is_not_found_has_a_cause(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError, match=says):
        load_dataset(scenario(tmp_path))
