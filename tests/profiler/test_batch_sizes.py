"""The batch size in the option table: every size has its own costs, and only those that a client's data hold exist."""

from __future__ import annotations

import pandas as pd
import pytest

from hybridsplit.profiler import model_profile
from hybridsplit.profiler.batch_worth import batch_worth
from hybridsplit.profiler.cuda_memory import CudaMemory
from hybridsplit.profiler.memory import client_memory
from hybridsplit.profiler.model_profile import profile_model
from hybridsplit.profiler.models import traced_model
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import load_scenario, validate_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.testing.families import BATCH_SIZE, family_scenario

STATED = 6.0


def with_noise_scale(scenario: Scenario) -> Scenario:
    document = scenario.resolved()
    document["objective"]["gradient_noise_scale"] = STATED
    return validate_scenario(document, "stated")


def at_size(options: OptionTable, batch_size: int) -> pd.DataFrame:
    rows = options.table[options.table["batch_size"] == batch_size].reset_index(drop=True)
    return rows.drop(columns="progress")


@pytest.mark.parametrize("family", ["opt-causal", "resnet"])
def test_rows_of_a_size_are_those_of_a_scenario_with_that_size_alone(family: str) -> None:
    """Peaks, compute, bytes and server memory, all to the last bit; only progress is shared out among the sizes."""
    both = profile_scenario(with_noise_scale(family_scenario(family, local_steps=2, batch_sizes=[3])))
    assert both.batch_sizes == [3, BATCH_SIZE]
    for size in both.batch_sizes:
        alone = profile_scenario(family_scenario(family, local_steps=2, batch_size=size))
        pd.testing.assert_frame_equal(at_size(both, size), at_size(alone, size), check_exact=True)
        expected = alone.table["progress"] * batch_worth(size, BATCH_SIZE, STATED)
        found = both.table["progress"][both.table["batch_size"] == size]
        assert found.tolist() == pytest.approx(expected.tolist())


def test_a_size_listed_twice_is_one_size_and_changes_nothing() -> None:
    once = profile_scenario(family_scenario("opt-causal"))
    twice = profile_scenario(family_scenario("opt-causal", batch_sizes=[BATCH_SIZE]))
    pd.testing.assert_frame_equal(once.table, twice.table, check_exact=True)


def test_a_cuda_device_is_followed_at_every_size() -> None:
    scenario = family_scenario("opt-causal", modes=["fo"], batch_sizes=[3])
    cuda = CudaMemory(cublas_workspace_bytes=1 << 20)
    profile = profile_model(scenario, cuda_devices=[cuda])
    for size, of_batch in profile.by_batch_size.items():
        alone = family_scenario("opt-causal", modes=["fo"], batch_size=size)
        traced = traced_model(alone)
        for choice, peak_bytes in of_batch.peaks_on(cuda).items():
            assert peak_bytes == client_memory(traced, alone, *choice[:4], cuda).peak_bytes


def test_a_second_size_traces_no_more_than_a_scenario_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("traced_model", "block_costs", "chain_memory", "client_memory", "server_memory", "gradient_split"):
        real = getattr(model_profile, name)

        def counted(*args: object, name: str = name, real: object = real) -> object:
            calls.append(name)
            return real(*args)  # type: ignore[operator]

        monkeypatch.setattr(model_profile, name, counted)

    def count(**training: object) -> dict[str, int]:
        calls.clear()
        profile_model(family_scenario("opt-causal", **training))
        return {name: calls.count(name) for name in sorted(set(calls))}

    both, first, second = count(batch_sizes=[3]), count(), count(batch_size=3)
    once = {"traced_model", "gradient_split"}
    assert both == {name: first[name] + (0 if name in once else second[name]) for name in first}


def uneven(batch_sizes: str) -> Scenario:
    """Quickstart in which one device holds most of the data: 1,438 samples for shares of 1, 1, 1, 1, 1 and 10."""
    return load_scenario(
        "quickstart",
        [
            f"training.batch_sizes={batch_sizes}",
            "training.modes=[fo]",
            "objective.gradient_split=assumed",
            "clients.orin.data_share=10",
        ],
    )


def test_a_client_without_data_for_a_batch_keeps_the_smaller_sizes() -> None:
    table = profile_scenario(uneven("[16, 200]")).table
    sizes = {str(client): set(rows["batch_size"]) for client, rows in table.groupby("client")}
    assert sizes.pop("orin-0") == {16, 32, 200}
    assert list(sizes.values()) == [{16, 32}] * 5
    # Worth is relative to the largest candidate, whichever clients can choose it.
    assert table[table["client"] != "orin-0"]["progress"].max() < 1
    assert table[table["client"] == "orin-0"]["progress"].max() == 1


def test_data_without_a_batch_of_the_smallest_size_are_refused() -> None:
    settings = ["training.modes=[fo]", "objective.gradient_split=assumed"]
    scenario = load_scenario("quickstart", [*settings, "training.batch_size=400", "training.batch_sizes=[500]"])
    with pytest.raises(ScenarioError, match=r"pi4-0 gets \d+ samples; needs at least one batch of 400"):
        profile_scenario(scenario)


def test_limits_of_memory_bind_every_size_by_itself() -> None:
    """What fits, and which levels of recomputation are worth offering, follows from each size's own peaks."""
    settings = ["objective.gradient_split=assumed", "training.modes=[fo, fo-recompute]"]
    both = profile_scenario(load_scenario("quickstart", [*settings, "training.batch_sizes=[8]"]))
    for size in both.batch_sizes:
        alone = profile_scenario(load_scenario("quickstart", [*settings, f"training.batch_size={size}"]))
        pd.testing.assert_frame_equal(at_size(both, size), at_size(alone, size), check_exact=True)
    fits = both.table[both.table["client"] == "pi4-0"].groupby("batch_size")["fits"].mean()
    assert fits[8] > fits[32]
