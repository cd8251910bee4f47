"""Image archives: what is in doubt, damaged or too large is refused by array and index."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridsplit.runtime.data.archives import _check_layout
from hybridsplit.runtime.data.sources import Dataset, load_dataset
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import load_scenario

LABELS = np.arange(60) % 10


def pixels(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 255, (60, *shape))


def load(path: Path, *settings: str) -> Dataset:
    data = f"data={{source: image-archive, path: {path}, image_size: 16}}"
    return load_dataset(load_scenario("quickstart", [data, "training.batch_size=1", *settings]))


def archive(folder: Path, **arrays: Any) -> Path:
    np.savez_compressed(folder / "x.npz", **arrays)
    return folder / "x.npz"


@pytest.mark.parametrize("labels", [LABELS, LABELS.astype(np.float64), LABELS.astype(str), LABELS.astype(np.uint8)])
def test_images_and_labels_are_read(tmp_path: Path, labels: Any) -> None:
    dataset = load(archive(tmp_path, images=pixels(9, 9), labels=labels))
    assert dataset.train.inputs.shape[1:] == (1, 16, 16)
    assert dataset.num_classes == 10


def with_value(value: float, dtype: type) -> Any:
    images = pixels(9, 9).astype(dtype)
    images[41, 7, 2] = value
    return images


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"pictures": np.zeros(3)}, "'images'"),
        ({"images": pixels(9, 9), "labels": LABELS[:-1]}, r"images \[60, 9, 9\] and labels \[59\]"),
        ({"images": np.zeros((0, 9, 9)), "labels": LABELS[:0]}, r"images \[0, 9, 9\]"),
        ({"images": with_value(np.nan, np.float32), "labels": LABELS}, r"images\[41, 7, 2\] is nan; .*image 41"),
        ({"images": with_value(-np.inf, np.float64), "labels": LABELS}, r"images\[41, 7, 2\] is -inf"),
        ({"images": with_value(1e300, np.float64), "labels": LABELS}, r"\[41, 7, 2\] is 1e\+300; .*single"),
        ({"images": pixels(9, 9).astype(complex), "labels": LABELS}, "type complex128"),
        ({"images": pixels(9, 9).astype(str), "labels": LABELS}, "type <U"),
        ({"images": pixels(9, 9), "labels": LABELS + 0.5}, r"labels: labels\[0\] has the label '0.5'; .* 10 different"),
        ({"images": pixels(9, 9), "labels": LABELS - 1}, r"labels\[0\] has the label '-1'"),
        ({"images": pixels(9, 9), "labels": np.where(LABELS == 3, np.nan, LABELS)}, r"labels\[3\] has the label 'nan'"),
        ({"images": pixels(9, 9), "labels": np.where(LABELS == 3, 10**8, LABELS)}, r"\[3\] has the label 100000000"),
        ({"images": pixels(3, 9, 9), "labels": LABELS}, r"\[60, 3, 9, 9\], which looks like \[N, C, H, W\]"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_on_is_refused(tmp_path: Path, arrays: dict[str, Any], says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        load(archive(tmp_path, **arrays))


@given(st.integers(8, 40), st.integers(8, 40), st.integers(1, 7))
def test_channels_come_last_and_are_refused_first(height: int, width: int, channels: int) -> None:
    _check_layout((5, height, width, channels), "x.npz")
    with pytest.raises(ScenarioError, match="transpose"):
        _check_layout((5, channels, height, width), "x.npz")


def test_many_channels_are_read_where_height_and_width_are_equal() -> None:
    _check_layout((5, 9, 9, 200), "x.npz")
    with pytest.raises(ScenarioError, match="transpose"):
        _check_layout((5, 200, 9, 9), "x.npz")


def test_what_an_archive_unpacks_to_is_checked_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path, images=np.zeros((60, 1024, 1024), dtype=np.uint8), labels=LABELS)
    assert path.stat().st_size < 2**20
    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipExtFile, "read", lambda *_: pytest.fail("unpacked"))
        with pytest.raises(ScenarioError, match=r"take 60.00 MiB in memory; needs at most 50.00 MiB"):
            load(path, "data.unpacked_limit_bytes=50 MiB")
    # So small an image size that the resized images are no more than what was unpacked.
    assert len(load(path, "data.unpacked_limit_bytes=61 MiB").test) == 12


def test_resized_images_count_as_well(tmp_path: Path) -> None:
    path = archive(tmp_path, images=pixels(9, 9).astype(np.uint8), labels=LABELS)
    with pytest.raises(ScenarioError, match=r"take 60\.00 KiB in memory"):
        load(path, "data.unpacked_limit_bytes=50 KiB")


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, images=pixels(9, 9), labels=LABELS)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:200] + bytes(50) + whole[250:], b"PK\x03\x04", b""):
        path.write_bytes(damaged)
        with pytest.raises(ScenarioError, match=r"data.path: .*needs an \.npz file"):
            load(path)
