"""Costs of blocks for relays: the same seconds and bytes as for one cut, and memory never below a traced step."""

from __future__ import annotations

import pytest

from hybridsplit.profiler.memory.parts import client_memory
from hybridsplit.profiler.models import traced_model
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.profiler.relays import relay_costs
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import builtin_text, load_task
from hybridsplit.scenarios.relays.loading import single_cut, validate_relays
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.solver.relays.routes import routes_of


def small(**changes: object) -> RelayScenario:
    import yaml

    document = yaml.safe_load(builtin_text("factory"))
    document["model"]["config"] |= {"num_hidden_layers": 3, "hidden_size": 48, "intermediate_size": 96}
    document["training"] |= changes
    return validate_relays(document, "small")


@pytest.mark.parametrize("optimizer", [{"name": "sgd", "learning_rate": 0.1}, {"name": "adamw", "learning_rate": 0.1}])
def test_memory_of_the_lowest_blocks_is_no_less_than_a_traced_step_and_not_far_above(optimizer: object) -> None:
    scenario = small(optimizer=optimizer, micro_batches=[1])
    route = routes_of(scenario, relay_costs(scenario))[0]
    traced, one = traced_model(single_cut(scenario)), single_cut(scenario)
    for cut in range(1, route.chain.num_blocks):
        measured = client_memory(traced, one, cut, "fo").peak_bytes
        assert measured <= route.memory_bytes[0, 0, cut] <= 1.6 * measured


def test_seconds_and_bytes_are_those_of_the_option_table() -> None:
    scenario = small(micro_batches=[1], local_steps=3)
    costs, part = relay_costs(scenario), relay_costs(scenario).by_micro_batches[1]
    table = profile_scenario(single_cut(scenario)).table
    rows = table[(table["client"] == "hall-0-0") & (table["mode"] == "fo")].set_index("cut")
    for cut in range(1, costs.num_blocks):
        both = (part.forward_s["rpi4b_8gb"] + part.backward_s["rpi4b_8gb"] + costs.update_s["rpi4b_8gb"])[:cut].sum()
        assert rows.loc[cut, "client_compute_s"] == pytest.approx(3 * both, rel=1e-9)
        up = 3 * part.sent_bytes[cut] + costs.exchanged_bytes[:cut].sum()
        assert rows.loc[cut, "uplink_bytes"] == up
        assert rows.loc[cut, "downlink_bytes"] == 3 * part.returned_bytes[cut] + costs.exchanged_bytes[:cut].sum()


def test_micro_batches_carry_the_batch_together() -> None:
    costs = relay_costs(small(micro_batches=[1, 4]))
    whole, part = costs.by_micro_batches[1], costs.by_micro_batches[4]
    assert (4 * part.sent_bytes == whole.sent_bytes).all()
    assert (4 * part.kept_bytes >= whole.kept_bytes).all()
    for device in whole.forward_s:
        assert (4 * part.forward_s[device] >= whole.forward_s[device] * (1 - 1e-9)).all()


def test_micro_batches_are_refused_where_statistics_are_taken_over_a_batch() -> None:
    import yaml

    document = yaml.safe_load(builtin_text("factory"))
    document["model"] = yaml.safe_load(builtin_text("quickstart"))["model"]
    document["data"]["image_size"] = 16
    with pytest.raises(ScenarioError, match=r"micro_batches: found 4, and block 1 .* has BatchNorm"):
        relay_costs(validate_relays(document, "batch-norm"))
    document["training"]["micro_batches"] = [1]
    assert relay_costs(validate_relays(document, "batch-norm")).num_blocks == 7


def test_shapes_and_labels_that_do_not_fit_are_told() -> None:
    import yaml

    document = yaml.safe_load(builtin_text("factory"))
    document["data"]["image_size"] = 32
    with pytest.raises(ScenarioError, match=r"image size, sequence length or model configuration do not fit|32"):
        relay_costs(validate_relays(document, "small pictures"))
    document = yaml.safe_load(builtin_text("factory"))
    document["model"]["config"]["num_labels"] = 4
    with pytest.raises(ScenarioError, match="label"):
        relay_costs(validate_relays(document, "few labels"))


def test_nothing_comes_back_where_nothing_below_is_trained() -> None:
    scenario = small(micro_batches=[1], trainable={"method": "lora", "target_modules": "all-linear"})
    part = relay_costs(scenario).by_micro_batches[1]
    assert part.backward_s["rpi4b_8gb"][0] == 0.0
    assert part.returned_bytes[1] == 0
    assert (part.returned_bytes[2:-1] > 0).all()
    untrained = ["training.optimizer=null", "training.local_steps=1", "training.rounds=1"]
    task = load_task("factory", [*untrained, "objective.minimise=inference-latency"])
    assert isinstance(task, RelayScenario)
    inference = relay_costs(task)
    assert not inference.trained_bytes.any()
    assert not inference.by_micro_batches[1].returned_bytes.any()
