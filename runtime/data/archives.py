"""Images from an ``.npz`` archive, which says what it unpacks to before anything is unpacked."""

from __future__ import annotations

import math
import zipfile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybridsplit.runtime.data.sources import Samples, prepared_images
from hybridsplit.runtime.data.targets import Where, targets_of
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import ImageArchive, Scenario
from hybridsplit.scenarios.scores import SINGLE_LABEL
from hybridsplit.scenarios.units import format_bytes

_FLOAT_BYTES = 4


def load_image_archive(data: ImageArchive, scenario: Scenario) -> tuple[Samples, int]:
    """Return the images of an archive, resized, and the number of classes.

    Raises
    ------
    ScenarioError
        If the file is no archive of images [N, H, W] or [N, H, W, C] and labels [N], would take more memory than
        ``unpacked_limit_bytes``, or holds a value that is no finite number; the message names array and index.
    """
    try:
        _check_directory(data)
        with np.load(data.path, allow_pickle=False) as archive:
            images, labels = np.asarray(archive["images"]), np.asarray(archive["labels"])
    except ScenarioError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise many types for a damaged file
        raise ScenarioError(
            f"data.path: {data.path}: needs an .npz file with 'images' and 'labels' ({type(error).__name__}: {error})"
        ) from error
    most = 1 if scenario.model.problem_type == SINGLE_LABEL else 2
    if images.ndim not in (3, 4) or not 1 <= labels.ndim <= most or len(images) != len(labels) or images.size == 0:
        raise ScenarioError(
            f"data.path: {data.path}: found images {list(images.shape)} and labels {list(labels.shape)}; "
            f"needs [N, H, W(, C)] and [N]{' or [N, K]' if most > 1 else ''}"
        )
    _check_layout(images.shape, data.path)
    where = Where(f"data.path: {data.path}: labels", lambda index: f"labels[{index}]")
    targets = targets_of([labels.tolist()], where, scenario.model.problem_type)
    _check_size(math.prod((len(images), *images.shape[3:], data.image_size, data.image_size)) * _FLOAT_BYTES, data)
    pixels = _finite_images(images, data.path)
    return prepared_images(pixels, targets.labels, data.image_size, scenario, targets.names), targets.num_outputs


def _check_directory(data: ImageArchive) -> None:
    """Refuse an archive whose arrays, by its own directory, unpack to more than the limit."""
    with zipfile.ZipFile(data.path) as archive:
        size_of = {member.filename.removesuffix(".npy"): member.file_size for member in archive.infolist()}
    _check_size(size_of.get("images", 0) + size_of.get("labels", 0), data)


def _check_size(needed_bytes: int, data: ImageArchive) -> None:
    if needed_bytes > data.unpacked_limit_bytes:
        raise ScenarioError(
            f"data.path: {data.path}: the arrays take {format_bytes(needed_bytes)} in memory; needs at most "
            f"{format_bytes(data.unpacked_limit_bytes)}: use fewer or smaller images, or raise "
            "data.unpacked_limit_bytes if this machine has the memory"
        )


def _check_layout(shape: tuple[int, ...], path: str) -> None:
    """Refuse images whose channels come before height and width, by all that a shape can tell."""
    if len(shape) != 4:
        return
    first, second, third = shape[1:]
    # Channels are either fewer than rows and columns, or the two equal sides are height and width.
    if first != second and (second == third or third > min(first, second)):
        raise ScenarioError(
            f"data.path: {path}: found images {list(shape)}, which looks like [N, C, H, W]; needs [N, H, W, C]: "
            "images.transpose(0, 2, 3, 1)"
        )


def _finite_images(images: NDArray[np.generic], path: str) -> Tensor:
    """Return the images [N, C, H, W] in single precision."""
    if images.dtype.kind not in "buif":
        raise ScenarioError(f"data.path: {path}: images are of type {images.dtype}; needs numbers")
    with np.errstate(over="ignore"):
        pixels = torch.from_numpy(images.astype(np.float32))
    if not torch.isfinite(pixels).all():
        index = tuple(torch.nonzero(~torch.isfinite(pixels))[0].tolist())
        raise ScenarioError(
            f"data.path: {path}: images{list(index)} is {images[index]}; needs finite numbers that single "
            f"precision can hold: repair or remove image {index[0]}"
        )
    return (pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)).contiguous()
