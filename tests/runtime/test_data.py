"""Data, partitions and batches."""

from __future__ import annotations

import pytest
import torch

from hybridsplit.runtime.data.partition import draw_batch, partition
from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.testing.families import family_scenario

SCHEMES = ["{scheme: iid}", "{scheme: dirichlet, alpha: 0.5}", "{scheme: by-key, key: label}"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_partitions_deal_every_sample_once(scheme: str) -> None:
    scenario = load_scenario("quickstart", [f"data.partition={scheme}", "training.batch_size=8"])
    samples = load_dataset(scenario).train
    dealt = partition(samples, scenario)
    assert set(dealt) == {client.id for client in scenario.expanded_clients()}
    assert torch.equal(torch.cat(list(dealt.values())).sort().values, torch.arange(len(samples)))
    again = partition(samples, scenario)
    assert all(torch.equal(dealt[client], again[client]) for client in dealt)


def test_shares_follow_data_share() -> None:
    scenario = load_scenario("quickstart", ["clients.orin.data_share=3"])
    dealt = partition(load_dataset(scenario).train, scenario)
    assert len(dealt["orin-0"]) == pytest.approx(3 * len(dealt["pi5-0"]), rel=0.02)


def test_small_alpha_makes_labels_unequal() -> None:
    spread = []
    for alpha in (0.3, 1000.0):
        scenario = load_scenario(
            "quickstart", [f"data.partition={{scheme: dirichlet, alpha: {alpha}}}", "training.batch_size=1"]
        )
        samples = load_dataset(scenario).train
        counts = [
            torch.bincount(samples.labels[index], minlength=10) / len(index)
            for index in partition(samples, scenario).values()
        ]
        spread.append(float(torch.stack(counts).std(0).mean()))
    assert spread[0] > 3 * spread[1]


def test_by_key_keeps_keys_whole() -> None:
    scenario = load_scenario("quickstart", ["data.partition={scheme: by-key, key: label}"])
    samples = load_dataset(scenario).train
    owners = [set(samples.labels[index].tolist()) for index in partition(samples, scenario).values()]
    assert sum(len(labels) for labels in owners) == 10


def test_too_few_samples_name_the_client() -> None:
    scenario = load_scenario("quickstart", ["training.batch_size=500"])
    with pytest.raises(ScenarioError, match=r"client pi4-0 gets \d+ samples; needs at least one batch of 500"):
        partition(load_dataset(scenario).train, scenario)


def test_batches_are_full_and_cover_a_pass() -> None:
    scenario = load_scenario("quickstart")
    samples = load_dataset(scenario).train
    index = partition(samples, scenario)["orin-0"]
    per_pass = len(index) // 32
    batches = [draw_batch(samples, index, scenario, "orin-0", step) for step in range(per_pass)]
    assert all(len(batch.inputs) == 32 for batch in batches)
    seen = torch.cat([batch.inputs.flatten(1) for batch in batches])
    assert len(torch.unique(seen, dim=0)) == len(seen)
    again = draw_batch(samples, index, scenario, "orin-0", 3)
    assert torch.equal(again.inputs, batches[3].inputs)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_a_client_draws_batches_of_its_own_size(batch_size: int) -> None:
    scenario = load_scenario("quickstart", ["training.batch_sizes=[1, 7, 64]"])
    samples = load_dataset(scenario).train
    index = partition(samples, scenario)["orin-0"]
    per_pass = len(index) // batch_size
    batches = [draw_batch(samples, index, scenario, "orin-0", step, batch_size=batch_size) for step in range(per_pass)]
    assert {len(batch.inputs) for batch in batches} == {batch_size}
    seen = torch.cat([batch.inputs.flatten(1) for batch in batches])
    assert len(torch.unique(seen, dim=0)) == len(seen)


def test_the_size_that_is_not_stated_is_that_of_the_scenario() -> None:
    scenario = load_scenario("quickstart", ["training.batch_sizes=[8]"])
    samples = load_dataset(scenario).train
    index = partition(samples, scenario)["orin-0"]
    stated = draw_batch(samples, index, scenario, "orin-0", 5, batch_size=32)
    assert torch.equal(draw_batch(samples, index, scenario, "orin-0", 5).inputs, stated.inputs)


def test_batch_sizes_do_not_change_who_holds_what_and_the_smallest_must_be_there() -> None:
    alone, several = load_scenario("quickstart"), load_scenario("quickstart", ["training.batch_sizes=[8, 1000]"])
    samples = load_dataset(alone).train
    dealt = partition(samples, several)
    assert all(torch.equal(index, dealt[client]) for client, index in partition(samples, alone).items())
    with pytest.raises(ScenarioError, match="only 240 samples to draw from"):
        draw_batch(samples, dealt["orin-0"][:240], several, "orin-0", 0, batch_size=1000)
    large = load_scenario("quickstart", ["training.batch_size=1000", "training.batch_sizes=[500]"])
    with pytest.raises(ScenarioError, match="needs at least one batch of 500"):
        partition(samples, large)


@pytest.mark.parametrize("family", ["opt-causal", "bert"])
def test_synthetic_tokens_can_be_learned_and_are_never_padding(family: str) -> None:
    scenario = family_scenario(family)
    dataset = load_dataset(scenario)
    assert int(dataset.train.inputs.min()) >= 4
    assert dataset.train.mask_NS is None
    assert (dataset.train.labels.ndim == 2) == (family == "opt-causal")
