"""Image files in a folder a class, read with Pillow."""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hybridsplit.runtime.data.sources import Samples, prepared_images
from hybridsplit.runtime.models.facts import channels_read
from hybridsplit.scenarios.errors import InputWarning, ScenarioError
from hybridsplit.scenarios.schema import ImageFolder, Scenario
from hybridsplit.scenarios.units import counted, format_bytes
from hybridsplit.scenarios.user_code import how_to_install

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_FLOAT_BYTES = 4
_COLOUR = 3


def load_image_folder(data: ImageFolder, scenario: Scenario) -> tuple[Samples, int, int | None]:
    """Return the images of a folder, resized, and the number of classes: folders by sorted name.

    Raises
    ------
    ScenarioError
        If there are not at least two folders with images, the images take more than ``unpacked_limit_bytes``, one
        cannot be read, or Pillow is missing.
    """
    folder = Path(data.path)
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    files = _files(folder, names, "path")
    test_files: list[tuple[Path, int]] = []
    if data.test_path is not None:
        other = Path(data.test_path)
        found = sorted(path.name for path in other.iterdir() if path.is_dir() and path.name[0] != ".")
        if unknown := [name for name in found if name not in names]:
            raise ScenarioError(
                f"data.test_path: {other}: found the class folder {unknown[0]!r}, which {folder} does not have; needs "
                f"folders among {', '.join(names)}"
            )
        test_files = _files(other, names, "test_path", needs_all=False)
    channels = data.channels or channels_read(scenario.model, _COLOUR)
    everything = [*files, *test_files]
    needed = len(everything) * channels * data.image_size**2 * _FLOAT_BYTES
    if needed > data.unpacked_limit_bytes:
        raise ScenarioError(
            f"data.path: {folder}: the {len(everything)} images take {format_bytes(needed)} in memory as "
            f"{data.image_size} x {data.image_size} pixels; needs at most {format_bytes(data.unpacked_limit_bytes)}: "
            "lower data.image_size, or raise data.unpacked_limit_bytes if this machine has the memory"
        )
    images = torch.stack([_read(path, channels, data.image_size) for path, _ in everything])
    labels = torch.tensor([label for _, label in everything], dtype=torch.long)
    samples = prepared_images(images, labels, data.image_size, scenario, tuple(names))
    return samples, len(names), None if data.test_path is None else len(test_files)


def _files(folder: Path, names: list[str], key: str, *, needs_all: bool = True) -> list[tuple[Path, int]]:
    """Image files by class and name, with their classes."""
    if len(names) < 2 and needs_all:
        raise ScenarioError(
            f"data.{key}: {folder}: found {len(names)} folders in it; needs a folder of images for each class, at "
            "least two"
        )
    found: list[tuple[Path, int]] = []
    passed_over: list[Path] = []
    for label, name in enumerate(names):
        inside = sorted(p for p in (folder / name).rglob("*") if p.is_file() and p.name[0] != ".")
        own = [(path, label) for path in inside if path.suffix.lower() in SUFFIXES]
        passed_over += [path for path in inside if path.suffix.lower() not in SUFFIXES]
        if not own and needs_all:
            raise ScenarioError(
                f"data.{key}: {folder / name}: found no images; needs files that end in {', '.join(SUFFIXES)}"
            )
        found += own
    if not found:
        raise ScenarioError(f"data.{key}: {folder}: found no images in the folders {', '.join(names)}")
    if passed_over:
        warnings.warn(
            f"data.{key}: passed over, as no image: {counted(len(passed_over), 'file')}, {passed_over[0]} first",
            InputWarning,
            stacklevel=2,
        )
    return found


def _read(path: Path, channels: int, image_size: int) -> Tensor:
    """An image [C, H, W], values in [0, 1]."""
    image_module, operations = pillow(f"data.path: {path}")
    try:
        with image_module.open(path) as image:
            return as_tensor(operations.exif_transpose(image), channels, image_size)
    except Exception as error:  # Pillow raises many types for a damaged file
        raise ScenarioError(
            f"data.path: {path}: cannot be read as an image ({type(error).__name__}: {str(error)[:120]}); repair or "
            "remove this file"
        ) from error


def pillow(where: str) -> tuple[Any, Any]:
    """Return Pillow's modules for images and operations on them.

    Raises
    ------
    ScenarioError
        If it is not installed.
    """
    try:
        return import_module("PIL.Image"), import_module("PIL.ImageOps")
    except ModuleNotFoundError as error:
        raise ScenarioError(f"{where}: reading image files needs Pillow: {how_to_install('PIL')}") from error


def as_tensor(image: Any, channels: int, image_size: int) -> Tensor:
    """Return an image of Pillow as [C, H, W], resized, values in [0, 1].

    Parameters
    ----------
    image
        The image.
    channels
        1 for grey, 3 for colour.
    image_size
        Side of the square, pixels.
    """
    converted = image.convert("L" if channels == 1 else "RGB").resize((image_size, image_size), 2)  # 2: bilinear
    pixels = np.asarray(converted, dtype=np.float32) / 255.0
    return torch.from_numpy(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1).copy())
