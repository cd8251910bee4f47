"""Image folders: classes by folder, test folders, resizing, and files that are no images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hybridsplit as hs
from hybridsplit.runtime.data import image_folders
from hybridsplit.runtime.data.sources import Dataset, load_dataset
from hybridsplit.scenarios.errors import InputWarning, ScenarioError
from hybridsplit.scenarios.loader import validate_scenario

Load = Callable[..., Dataset]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def loaded(**keys: Any) -> Dataset:
        text = hs.load("quickstart").resolved()
        text["training"] |= {"batch_size": 2}
        text["data"] = {"source": "image-folder", "path": "leaves", "image_size": 8} | keys
        return load_dataset(validate_scenario(text, "test", tmp_path))

    return loaded


def write(folder: Path, name: str, number: int, grey: int) -> None:
    image = pytest.importorskip("PIL.Image", reason="pip install pillow")
    (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(number):
        image.fromarray(np.full((9 + index, 12), grey, dtype=np.uint8)).save(folder / name / f"{index}.png")


def test_folders_are_classes_in_sorted_order(load: Load, tmp_path: Path) -> None:
    for name, grey in (("oak", 200), ("ash", 20), ("elm", 90)):
        write(tmp_path / "leaves", name, 6, grey)
        write(tmp_path / "held out", name, 2, grey)
    found = load(test_path="held out")
    assert (found.num_classes, len(found.train), len(found.test)) == (3, 18, 6)
    assert found.train.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    means = [float(found.train.inputs[found.train.labels == label].mean()) for label in range(3)]
    assert means == sorted(means), "ash is dark, oak is bright"
    assert tuple(found.train.inputs.shape[1:]) == (1, 8, 8), "as many channels as the model reads"


def test_what_is_no_image_is_passed_over_or_refused_by_name(load: Load, tmp_path: Path) -> None:
    for name in ("ash", "oak"):
        write(tmp_path / "leaves", name, 5, 30)
    (tmp_path / "leaves" / "oak" / "notes.txt").write_text("not an image")
    (tmp_path / "leaves" / "oak" / ".hidden").write_text("nor this")
    with pytest.warns(InputWarning, match=r"passed over, as no image: 1 file, .*notes\.txt first"):
        load()
    (tmp_path / "leaves" / "oak" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    with pytest.warns(InputWarning), pytest.raises(ScenarioError, match=r"torn\.png: cannot be read as an image"):
        load()


def test_folders_that_are_none_are_refused(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ScenarioError, match=r"data.path: no such folder"):
        load()
    (tmp_path / "leaves" / "ash").mkdir(parents=True)
    with pytest.raises(ScenarioError, match=r"found 1 folders in it; .*at least two"):
        load()
    (tmp_path / "leaves" / "oak").mkdir()
    with pytest.raises(ScenarioError, match="ash: found no images"):
        load()
    for name in ("ash", "oak"):
        (tmp_path / "leaves" / name / "a.png").write_bytes(b"")
    with pytest.raises(ScenarioError, match=r"the 2 images take .* needs at most 100 B"):
        load(unpacked_limit_bytes=100)
    (tmp_path / "other" / "yew").mkdir(parents=True)
    with pytest.raises(ScenarioError, match=r"data.test_path: .*found the class folder 'yew'"):
        load(test_path="other")

    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(image_folders, "import_module", missing)
    with pytest.raises(ScenarioError, match=r"needs Pillow: pip install 'hybridsplit\[images\]'"):
        load()
