"""Labels that are numbers, or several at once: every kind of file reads alike, and what is refused is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import MultiLabelBinarizer

import hybridsplit as hs
from hybridsplit.runtime.data.partition import partition
from hybridsplit.runtime.data.sources import Dataset, load_dataset
from hybridsplit.runtime.data.targets import Where, targets_of
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.scores import MULTI_LABEL, REGRESSION

TAGS = [["red", "big"], [], ["big"], ["cold", "red"], ["red"], ["cold"]]
FRAME = pd.DataFrame(
    {
        "a": np.arange(60.0), "b": np.arange(60.0) % 7, "y": np.arange(60) / 4 - 3, "z": -np.arange(60.0),
        "tags": ["|".join(TAGS[i % 6]) for i in range(60)], "red": ["red" in TAGS[i % 6] for i in range(60)],
        "big": [int("big" in TAGS[i % 6]) for i in range(60)], "who": [i % 5 for i in range(60)],
    }
)  # fmt: skip
CODE = """
import numpy as np
import torch
from torch import nn

def make(): return nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 3))
def vectors(): return [(torch.tensor([i / 60, 1.0]), np.array([i / 4 - 3, -float(i)])) for i in range(60)]
def lists(): return [(torch.tensor([i / 60, 1.0]), TAGS[i % 6]) for i in range(60)]
def hot(): return [{"inputs": torch.tensor([i / 60, 1.0]), "labels": torch.tensor([i % 2, 1, 0])} for i in range(60)]
def ragged(): return [(torch.zeros(2), [1.0] * (1 + i % 2)) for i in range(9)]
TAGS = """ + repr(TAGS)  # fmt: skip
Make = Callable[..., Scenario]
NUMBERS: dict[str, Any] = {"source": "number-table", "columns": ["a", "b"]}
WHERE = Where("data.label_column: t.csv", lambda index: f"line {index + 2}")


@pytest.fixture
def scenario_of(tmp_path: Path) -> Make:
    (tmp_path / "mine.py").write_text(CODE)

    def made(kind: str, data: dict[str, Any], **more: Any) -> Scenario:
        text = hs.load("quickstart").resolved()
        text["model"] = {"task": "classification", "problem_type": kind, "python": "mine.py:make"}
        text["training"] |= {"batch_size": 2}
        text["data"] = data
        return validate_scenario(text | more, "test", tmp_path)

    return made


def by_first_input(found: Dataset) -> dict[float, list[float]]:
    """Labels by the first number of a sample, which tells samples apart."""
    parts = (found.train, found.test)
    return {float(x[0]): y.tolist() for part in parts for x, y in zip(part.inputs, part.labels, strict=True)}


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet"])
def test_every_kind_of_table_holds_the_same_numbers(scenario_of: Make, tmp_path: Path, name: str) -> None:
    written(FRAME, tmp_path / name)
    data = NUMBERS | {"path": name, "standardise": False}
    found = load_dataset(scenario_of(REGRESSION, data | {"label_columns": ["y", "z"]}))
    assert found.num_classes == 2
    assert found.train.label_names == ("y", "z")
    assert found.train.labels.dtype == torch.float32
    assert by_first_input(found) == {float(i): [i / 4 - 3, -float(i)] for i in range(60)}
    one = load_dataset(scenario_of(REGRESSION, data | {"label_column": "y"}))
    assert by_first_input(one) == {float(i): [i / 4 - 3] for i in range(60)}


def written(frame: pd.DataFrame, path: Path) -> None:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_several_labels_are_read_alike_however_they_are_written(scenario_of: Make, tmp_path: Path, name: str) -> None:
    """Names between separators, lists of names, lists of 0 and 1, and columns of 0 and 1, against scikit-learn."""
    listed = [TAGS[i % 6] for i in range(60)]
    binarizer = MultiLabelBinarizer()
    expected = {float(i): row for i, row in enumerate(binarizer.fit_transform(listed).astype(float).tolist())}
    as_text = name.endswith("csv")
    hot = [[int(v) for v in expected[float(i)]] for i in range(60)]
    frame = FRAME.assign(names=[json.dumps(x) if as_text else x for x in listed])
    frame = frame.assign(hot=[json.dumps(x) if as_text else x for x in hot], cold=["cold" in x for x in listed])
    written(frame, tmp_path / name)
    data = NUMBERS | {"path": name, "standardise": False}
    for how in (
        {"label_column": "tags", "label_separator": "|"}, {"label_column": "names"},
        {"label_columns": ["big", "cold", "red"]}, {"label_column": "hot"},
    ):  # fmt: skip
        found = load_dataset(scenario_of(MULTI_LABEL, data | how))
        assert by_first_input(found) == expected, how
        assert found.num_classes == 3
        assert found.train.label_names == (() if how == {"label_column": "hot"} else tuple(binarizer.classes_))


@pytest.mark.parametrize(("function", "kind", "outputs"), [
    ("vectors", REGRESSION, 2), ("lists", MULTI_LABEL, 3), ("hot", MULTI_LABEL, 3),
])  # fmt: skip
def test_own_data_give_vectors_or_names(scenario_of: Make, function: str, kind: str, outputs: int) -> None:
    found = load_dataset(scenario_of(kind, {"python": f"mine.py:{function}"}))
    assert (found.num_classes, found.train.labels.shape[1]) == (outputs, outputs)
    rows = {round(60 * x): y for x, y in by_first_input(found).items()}
    if function == "vectors":
        assert rows == {i: pytest.approx([i / 4 - 3, -i]) for i in range(60)}
    if function == "hot":
        assert rows == {i: [i % 2, 1.0, 0.0] for i in range(60)}


def test_a_saved_dataset_has_several_columns_or_lists(scenario_of: Make, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs pip install 'hybridsplit[datasets]'")
    rows = {"features": FRAME[["a", "b"]].to_numpy().tolist(), "y": FRAME["y"].tolist(), "z": FRAME["z"].tolist()}
    datasets.Dataset.from_dict(rows | {"tags": [TAGS[i % 6] for i in range(60)]}).save_to_disk(str(tmp_path / "saved"))
    data = {"source": "saved-dataset", "path": "saved"}
    found = load_dataset(scenario_of(REGRESSION, data | {"label_columns": ["y", "z"]}))
    assert by_first_input(found) == {float(i): [i / 4 - 3, -float(i)] for i in range(60)}
    tagged = load_dataset(scenario_of(MULTI_LABEL, data | {"label_column": "tags"}))
    assert tagged.train.label_names == ("big", "cold", "red")


def test_an_archive_of_images_has_a_row_of_numbers_an_image(scenario_of: Make, tmp_path: Path) -> None:
    numbers = np.stack([np.arange(40) / 7, -np.arange(40)], 1)
    np.savez(tmp_path / "i.npz", images=np.random.default_rng(0).random((40, 8, 8)), labels=numbers)
    scenario = scenario_of(REGRESSION, {"source": "number-table", "path": "i.npz"})
    text = scenario.resolved()
    text["model"]["task"] = "image-classification"
    text["data"] = {"source": "image-archive", "path": "i.npz", "image_size": 8}
    found = load_dataset(validate_scenario(text, "test", tmp_path))
    labels = torch.cat([found.train.labels, found.test.labels])
    assert sorted(labels.tolist()) == sorted(torch.tensor(numbers, dtype=torch.float32).tolist())


@given(st.lists(st.sets(st.sampled_from("abcdef"), max_size=4), min_size=1, max_size=8).filter(any))
def test_names_and_separators_are_one(rows: list[set[str]]) -> None:
    """Whatever the order of names, and against scikit-learn."""
    binarizer = MultiLabelBinarizer()
    expected = binarizer.fit_transform(rows)
    listed = targets_of([[sorted(row, reverse=True) for row in rows]], WHERE, MULTI_LABEL)
    joined = targets_of([[" , ".join(row) for row in rows]], WHERE, MULTI_LABEL, separator=",")
    for found in (listed, joined):
        assert found.labels.tolist() == expected.tolist()
        assert found.names == tuple(binarizer.classes_)


@pytest.mark.parametrize(
    ("kind", "columns", "says"),
    [
        (REGRESSION, [["1", "x"]], r"t.csv: line 3 has 'x' as a label; .*needs finite numbers"),
        (REGRESSION, [["1", "inf"]], "line 3 has 'inf' as a label"),
        (REGRESSION, [["1e39", "2"]], "line 2 has '1e39' as a label; .*single precision can hold"),
        (REGRESSION, [["[1, 2]", "[1]"]], "line 3 has 1 labels, the first has 2"),
        (REGRESSION, [["1", "2"], ["3", "nan"]], "line 3 has 'nan' as a label"),
        (MULTI_LABEL, [["0", "3"]], "line 3 has '3' as a label; .*needs 0 and 1, or lists of names"),
        (MULTI_LABEL, [[["a"], [1]]], "line 3 has 1 among its labels; needs names as text in every row"),
        (MULTI_LABEL, [[[0, 1], [1]]], "line 3 has 1 labels, the first has 2"),
        (MULTI_LABEL, [[[], []]], "line 2 has 0 labels"),
        (MULTI_LABEL, [["0", "1"], ["yes", "no"]], "line 2 has 'yes' as a label"),
    ],
)  # fmt: skip
def test_what_is_no_label_is_named_by_its_line(kind: str, columns: list[list[Any]], says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        targets_of(columns, WHERE, kind)


def test_a_table_without_any_label_is_refused() -> None:
    with pytest.raises(ScenarioError, match="found no label in 2 rows"):
        targets_of([["", " "]], WHERE, MULTI_LABEL, separator="|")


DIRICHLET = {"scheme": "dirichlet", "alpha": 0.3}


@pytest.mark.parametrize(
    ("kind", "data", "more", "says"),
    [
        (REGRESSION, {"partition": DIRICHLET}, {}, "data.partition.label_bins: is needed .* label_bins: 10"),
        (REGRESSION, {"partition": {"scheme": "by-key", "key": "label"}}, {}, "data.partition.key: found 'label'"),
        (MULTI_LABEL, {"partition": {**DIRICHLET, "label_bins": 4}}, {}, "label_bins: is for numbers"),
        (REGRESSION, {"label_separator": "|"}, {}, "data.label_separator: is for several labels"),
        (MULTI_LABEL, {"label_columns": ["red"], "label_separator": "|"}, {}, "label_separator: is for several labels"),
        (REGRESSION, {"label_columns": ["y", "y"]}, {}, "label_columns: lists y twice"),
        (REGRESSION, {"label_columns": ["y"], "label_column": "z"}, {}, "label_column and label_columns: found both"),
        ("single_label_classification", {"label_columns": ["y"]}, {}, "data.label_columns: is for several labels"),
        (REGRESSION, {}, {"objective": {"target_accuracy": 0.5}}, "target_accuracy: .* R²; state target_score"),
        ("single_label_classification", {}, {"objective": {"target_score": 0.5}}, "target_score: .* target_accuracy"),
        (REGRESSION, {}, {"objective": {"target_score": 0.5, "target_loss": 1.0}}, "found both"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_before_data_are_read(
    scenario_of: Make, kind: str, data: dict[str, Any], more: dict[str, Any], says: str
) -> None:
    with pytest.raises(ScenarioError, match=says):
        scenario_of(kind, NUMBERS | {"path": "mine.py"} | data, **more)


@pytest.mark.parametrize("source", ["digits", "synthetic-tokens"])
def test_sources_of_single_classes_are_refused(scenario_of: Make, source: str) -> None:
    with pytest.raises(ScenarioError, match="whose labels are single classes"):
        scenario_of(REGRESSION, {"source": source})


def test_a_language_model_has_no_other_labels(tmp_path: Path) -> None:
    text = hs.load("quickstart").resolved()
    text["model"] = {"task": "causal-lm", "problem_type": REGRESSION, "config": {"model_type": "opt"}}
    with pytest.raises(ScenarioError, match="problem_type: found 'regression' with task 'causal-lm'"):
        validate_scenario(text, "test", tmp_path)


def test_a_test_set_that_does_not_vary_has_no_score(scenario_of: Make, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,y\n1,2,3\n4,5,6\n7,8,9\n")
    (tmp_path / "u.csv").write_text("a,b,y\n1,2,3\n4,5,3\n")
    data = NUMBERS | {"path": "t.csv", "test_path": "u.csv", "label_column": "y"}
    with pytest.raises(ScenarioError, match="the 2 test samples all have 3 as number 0 to predict"):
        load_dataset(scenario_of(REGRESSION, data))


@pytest.mark.parametrize("bins", [2, 5])
def test_numbers_are_dealt_by_bins_of_equally_many_samples(scenario_of: Make, tmp_path: Path, bins: int) -> None:
    """A tiny concentration gives each bin to one client, whatever the scale of the numbers."""
    frame = FRAME.assign(y=np.exp(FRAME["a"] / 3))
    written(frame, tmp_path / "t.csv")
    data = NUMBERS | {"path": "t.csv", "label_column": "y", "test_fraction": 1 / 6}
    scheme = {"scheme": "dirichlet", "alpha": 1e-3, "label_bins": bins}
    scenario = scenario_of(REGRESSION, data | {"partition": scheme})
    clients = [{**scenario.resolved()["clients"][0], "count": 2, "data_share": 1.0}]
    scenario = scenario_of(REGRESSION, data | {"partition": scheme}, clients=clients)
    train = load_dataset(scenario).train
    dealt = partition(train, scenario)
    assert torch.equal(torch.cat(list(dealt.values())).sort().values, torch.arange(50))
    rank = train.labels[:, 0].argsort().argsort() * bins // 50
    assert all(len({int(r) for r in rank[index]}) <= bins for index in dealt.values())
    owners = {b: {name for name, index in dealt.items() if (rank[index] == b).any()} for b in range(bins)}
    assert all(len(names) == 1 for names in owners.values())


def test_several_labels_are_dealt_by_their_combination(scenario_of: Make, tmp_path: Path) -> None:
    written(FRAME, tmp_path / "t.csv")
    data = NUMBERS | {"path": "t.csv", "label_column": "tags", "label_separator": "|", "key_column": "who"}
    scenario = scenario_of(MULTI_LABEL, data | {"partition": {"scheme": "dirichlet", "alpha": 1e-3}})
    train = load_dataset(scenario).train
    dealt = partition(train, scenario)
    for row in train.labels.unique(dim=0):
        assert sum(bool((train.labels[index] == row).all(1).any()) for index in dealt.values()) <= 2
