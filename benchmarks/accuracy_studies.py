"""What the accuracy benchmark trains: models, data, cuts, and the rows of its tables with their tuned learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scenarios.contracts.modes import Mode
from scenarios.loader import validate_scenario
from scenarios.schema import Scenario

CLIENT, DEVICE, SERVER = "pi-0", "rpi5_8gb", "edge_rtx_a2000_6gb"
POLARITY_FILE = "sentence_polarity_train.tsv"


@dataclass(frozen=True)
class Row:
    """One way to train the client part.

    Parameters
    ----------
    name
        As the tables call it.
    mode
        Training mode of the client part.
    learning_rates
        By cut, the tuned one: of exact gradients for exact modes and ``frozen``, of estimated ones otherwise.
    grid
        Learning rates that were tried.
    training
        Settings of the scenario's training section that differ from the study's.
    zeroth_order
        Settings of zeroth-order modes, the optimizer's learning rate apart.
    estimated_optimizer
        Its optimizer, the learning rate apart.
    seeds
        How many of the seeds it is run on; all when None.
    """

    name: str
    mode: Mode
    learning_rates: Mapping[int, float]
    grid: tuple[float, ...]
    training: Mapping[str, Any] = field(default_factory=dict)
    zeroth_order: Mapping[str, Any] | None = None
    estimated_optimizer: Mapping[str, Any] = field(default_factory=lambda: {"name": "sgd"})
    seeds: int | None = None


@dataclass(frozen=True)
class Study:
    """A model, its data and a sample budget, the same for all rows.

    Parameters
    ----------
    name
        For the command line.
    model, data, training
        Sections of the scenario; ``training`` lacks modes and learning rates.
    optimizer
        Of exact gradients, its learning rate apart.
    rows
        What is compared; the first is the control.
    """

    name: str
    model: Mapping[str, Any]
    data: Mapping[str, Any]
    training: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    rows: tuple[Row, ...]

    @property
    def steps(self) -> int:
        """Steps of a run: samples are this times the batch size."""
        return int(self.training["rounds"] * self.training["local_steps"])

    def row(self, name: str) -> Row:
        """Return a row by name."""
        return next(row for row in self.rows if row.name == name)

    def scenario(self, row: Row, cut: int, learning_rate: float, seed: int) -> Scenario:
        """Return the scenario of one run, with one client and all of the radio and the server to it."""
        exact = learning_rate if row.zeroth_order is None else self.rows[0].learning_rates[cut]
        training = {
            **self.training,
            **row.training,
            "modes": [str(row.mode)],
            "optimizer": {**self.optimizer, "learning_rate": exact},
        }
        if row.zeroth_order is not None:
            estimated = {**row.estimated_optimizer, "learning_rate": learning_rate}
            training["zeroth_order"] = {**row.zeroth_order, "optimizer": estimated}
        document = {
            "name": f"accuracy-{self.name}", "seed": seed, "model": self.model, "data": self.data, "training": training,
            "server": {"device": SERVER},
            "radio": {"link_model": "fixed", "uplink_hz": "20 MHz", "downlink_hz": "20 MHz"},
            "clients": [
                {
                    "group": "pi", "device": DEVICE, "memory_budget_bytes": "6 GiB",
                    # Rows of 3GPP TS 38.214 table 5.2.2.1-2, as in the built-in scenarios.
                    "link": {"uplink_bps_per_hz": 2.4063, "downlink_bps_per_hz": 3.9023},
                }
            ],
        }  # fmt: skip
        return validate_scenario(document, f"benchmark {self.name}")


def projection(num_directions: int, **settings: Any) -> dict[str, Any]:
    """Settings of ``zo-projection`` along signs."""
    return {"directions": num_directions, "distribution": "rademacher", **settings}


def digits(*, quick: bool) -> Study:
    """Quickstart's residual network, from drawn weights, on scikit-learn's digits."""
    local_steps = 6 if quick else 48
    config = {
        "model_type": "resnet", "layer_type": "basic", "num_channels": 1, "embedding_size": 16,
        "hidden_sizes": [16, 32, 64], "depths": [2, 2, 1], "num_labels": 10,
    }  # fmt: skip
    exact_grid, sgd_grid = (0.03, 0.1, 0.3), (1e-3, 3e-3, 1e-2)
    pure = {"server_gradient": "zeroth-order"}
    adamw = {"name": "adamw", "weight_decay": 0.0}
    rows = (
        Row("frozen", Mode.FROZEN, {3: 0.1, 5: 0.1, 6: 0.1}, exact_grid),
        Row("fo", Mode.FO, {3: 0.1, 5: 0.1, 6: 0.1}, exact_grid),
        Row("fo-recompute", Mode.FO_RECOMPUTE, {3: 0.1, 5: 0.1, 6: 0.1}, exact_grid),
        Row("zo-projection P=16", Mode.ZO_PROJECTION, {3: 3e-3, 5: 3e-3, 6: 3e-3}, sgd_grid,
            zeroth_order=projection(16)),
        Row("zo-projection P=16, AdamW", Mode.ZO_PROJECTION, {3: 3e-3, 5: 3e-4, 6: 6e-3}, (3e-4, 1e-3, 3e-3, 6e-3),
            zeroth_order=projection(16), estimated_optimizer=adamw),
        Row("zo-projection P=64", Mode.ZO_PROJECTION, {3: 3e-3, 5: 3e-3, 6: 3e-3}, sgd_grid,
            zeroth_order=projection(64), seeds=3),
        Row("zo-loss Q=4", Mode.ZO_LOSS, {3: 1e-3, 5: 1e-3, 6: 1e-3}, sgd_grid, zeroth_order=projection(4), seeds=3),
        Row("pure zeroth-order Q=4", Mode.ZO_LOSS, {3: 3e-3, 5: 3e-3, 6: 3e-3}, sgd_grid, pure, projection(4), seeds=3),
    )  # fmt: skip
    return Study(
        "digits",
        {"task": "image-classification", "config": config},
        {"source": "digits", "image_size": 16, "partition": {"scheme": "iid"}},
        {
            "batch_size": 32, "local_steps": local_steps, "rounds": 10, "optimizer_state": "keep",
            "learning_rate_schedule": {"shape": "linear"},
        },
        {"name": "sgd", "weight_decay": 1e-3},
        rows,
    )  # fmt: skip


def polarity(checkpoint: Path, text_folder: Path, *, quick: bool) -> Study:
    """Pretrained MiniLM with rank-2 adapters on movie-review sentences."""
    adapters = {"method": "lora", "rank": 2, "alpha": 4.0, "target_modules": ["query", "value"]}
    exact_grid, zo_grid = (1e-3, 3e-3, 1e-2), (1e-3, 3e-3, 1e-2)
    adamw = {"name": "adamw", "weight_decay": 0.0}
    rows = (
        Row("frozen", Mode.FROZEN, {3: 3e-3, 7: 1e-2}, exact_grid),
        Row("fo", Mode.FO, {3: 3e-3, 7: 3e-3}, exact_grid),
        Row("fo-recompute", Mode.FO_RECOMPUTE, {3: 3e-3, 7: 3e-3}, exact_grid, seeds=1),
        Row("zo-projection P=16", Mode.ZO_PROJECTION, {3: 3e-3, 7: 3e-3}, zo_grid,
            zeroth_order=projection(16), estimated_optimizer=adamw),
        Row("zo-loss Q=4", Mode.ZO_LOSS, {3: 3e-3, 7: 3e-3}, zo_grid,
            zeroth_order=projection(4), estimated_optimizer=adamw),
        Row("pure zeroth-order Q=4", Mode.ZO_LOSS, {3: 3e-3, 7: 3e-3}, zo_grid,
            {"server_gradient": "zeroth-order"}, projection(4), adamw),
    )  # fmt: skip
    return Study(
        "polarity",
        {"task": "sequence-classification", "checkpoint": str(checkpoint)},
        {
            "source": "text-table", "path": str(text_folder / POLARITY_FILE), "tokenizer": str(checkpoint),
            "test_fraction": 0.25, "partition": {"scheme": "iid"},
        },
        {
            "trainable": adapters, "batch_size": 16, "sequence_length": 32, "local_steps": 2 if quick else 30,
            "rounds": 5, "optimizer_state": "keep", "learning_rate_schedule": {"shape": "linear"},
        },
        {"name": "adamw", "weight_decay": 0.0},
        rows,
    )  # fmt: skip
