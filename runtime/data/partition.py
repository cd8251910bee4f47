"""Deal training samples to clients, and draw each client's batches."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from hybridsplit.runtime.data.dealing import check_counts, ends_of_runs
from hybridsplit.runtime.data.sources import Samples, keyed_by
from hybridsplit.runtime.split.link import Batch
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Client, Dirichlet, Iid, Scenario
from hybridsplit.scenarios.streams import stream_seed

_DRAWS = 100


def partition(samples: Samples, scenario: Scenario) -> Mapping[str, Tensor]:
    """Return the sample indices of every client: [M] each, rising, every sample in one of them.

    Raises
    ------
    ScenarioError
        If a client would get fewer samples than one batch of the smallest size that it may choose.
    """
    clients = scenario.expanded_clients()
    batch_size = scenario.training.candidate_batch_sizes[0]
    rng = np.random.default_rng(stream_seed(scenario.seed, "partition"))
    scheme = scenario.data.partition
    if isinstance(scheme, Iid):
        dealt = _deal(rng.permutation(len(samples)), [client.data_weight for client in clients])
    elif isinstance(scheme, Dirichlet):
        # Small concentrations may leave a client with next to nothing; the usual remedy is to draw again.
        for _ in range(_DRAWS):
            dealt = _dirichlet(samples, clients, scheme.alpha, scheme.label_bins, rng)
            if min(map(len, dealt)) >= batch_size:
                break
    else:
        dealt = _by_key(samples if scheme.key != "label" else _keyed_by_label(samples), clients, rng)
    check_counts(scenario, [len(index) for index in dealt])
    return {client.id: torch.from_numpy(np.sort(index)) for client, index in zip(clients, dealt, strict=True)}


def _deal(order: np.ndarray, weights: list[float]) -> list[np.ndarray]:
    """Cut an order into consecutive runs whose lengths follow the weights."""
    return np.split(order, ends_of_runs(len(order), weights)[:-1])


def _dirichlet(
    samples: Samples, clients: tuple[Client, ...], alpha: float, bins: int | None, rng: np.random.Generator
) -> list[np.ndarray]:
    """Deal each label's samples in proportions drawn from Dirichlet(alpha · data shares) (arXiv 2102.02079)."""
    labels = _label_codes(samples, bins).numpy()
    base = np.array([client.data_weight for client in clients]) * len(clients)
    dealt: list[list[np.ndarray]] = [[] for _ in clients]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        for client, run in zip(dealt, _deal(members, list(rng.dirichlet(alpha * base))), strict=True):
            client.append(run)
    return [np.concatenate(runs) for runs in dealt]


def _by_key(samples: Samples, clients: tuple[Client, ...], rng: np.random.Generator) -> list[np.ndarray]:
    """Give each key whole to the client that lacks most of its share, largest keys first."""
    keys = samples.keys_N.numpy()
    values, counts = np.unique(keys, return_counts=True)
    if len(values) < len(clients):
        raise ScenarioError(
            f"data.partition.key: found {len(values)} keys for {len(clients)} clients; each client needs one of its own"
        )
    order = rng.permutation(len(values))
    order = order[np.argsort(-counts[order], kind="stable")]
    wanted = np.array([client.data_weight for client in clients]) * len(keys)
    have = np.zeros(len(clients))
    owner = {}
    for position in order:
        client = int(np.argmax((wanted - have) / wanted))
        owner[values[position]] = client
        have[client] += counts[position]
    owners = np.array([owner[key] for key in keys])
    return [np.flatnonzero(owners == index) for index in range(len(clients))]


def _keyed_by_label(samples: Samples) -> Samples:
    return Samples(samples.inputs, samples.labels, samples.mask_NS, _label_codes(samples, None))


def _label_codes(samples: Samples, bins: int | None) -> Tensor:
    """[N] integers that are equal where labels are, or of numbers the bin: of several labels, all are equal."""
    labels = samples.labels
    if bins is not None:
        # Ranks and not values are divided, so that bins are equally full whatever the numbers are.
        return labels[:, 0].argsort(stable=True).argsort(stable=True) * bins // len(labels)
    if labels.is_floating_point():
        return keyed_by(labels)
    return samples.keys_N if labels.ndim > 1 else labels


def draw_batch(
    samples: Samples,
    index: Tensor,
    scenario: Scenario,
    client: str,
    global_step: int,
    *,
    batch_size: int | None = None,
) -> Batch:
    """Draw a client's batch of a step: shuffled passes over its samples, always a full batch.

    Parameters
    ----------
    samples, index
        All training samples, and those of the client.
    scenario
        Gives the seed.
    client
        The client's id; its stream is its own.
    global_step
        Steps since the start of the run, so that a resumed run draws the same batches.
    batch_size
        Samples of the batch: what the plan chose for the client; ``training.batch_size`` when absent.

    Raises
    ------
    ScenarioError
        If the client has fewer samples than one batch.
    """
    size = scenario.training.batch_size if batch_size is None else batch_size
    per_pass = len(index) // size
    if per_pass == 0:
        raise ScenarioError(
            f"training.batch_size: found {size}; there are only {len(index)} samples to draw from ({client})"
        )
    epoch, position = divmod(global_step, per_pass)
    generator = torch.Generator().manual_seed(stream_seed(scenario.seed, "batches", client, epoch))
    order = torch.randperm(len(index), generator=generator)
    return samples.batch(index[order[position * size : (position + 1) * size]])
