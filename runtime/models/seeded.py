"""Code of the user's own draws its random numbers from a named stream of the seed, whatever library it draws with."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from hybridsplit.scenarios.streams import stream_seed

_NUMPY_SEEDS = 2**32


@contextmanager
def seeded(seed: int, stream: str) -> Iterator[None]:
    """Within it the generators of PyTorch, NumPy and Python start from a named stream; afterwards they are as before.

    Parameters
    ----------
    seed, stream
        Of the scenario, and the stream's name.
    """
    drawn = stream_seed(seed, stream)
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  it is what the user's code draws from
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(drawn)
        random.seed(drawn)
        np.random.seed(drawn % _NUMPY_SEEDS)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)  # noqa: NPY002
