"""What the accuracy benchmark trains: models, data, cuts, and the rows of its tables with their learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario

CLIENT, DEVICE, SERVER = "pi-0", "rpi5_8gb", "edge_rtx_a2000_6gb"
POLARITY_FILE = "sentence_polarity_train.tsv"


Optimizers = Mapping[int, Mapping[str, Any]]
"""By cut, an optimizer as a scenario states it."""


@dataclass(frozen=True)
class Row:
    """One way to train the client part.

    Parameters
    ----------
    name
        As the tables call it.
    mode
        Training mode of the client part.
    exact
        Optimizer of exact gradients: of the server part, and of the client part in exact modes.
    training
        Settings of the scenario's training section that differ from the study's.
    zeroth_order
        Settings of a zeroth-order mode, the optimizer apart.
    estimated
        Optimizer of estimated gradients, for such a mode.
    num_seeds
        How many of the seeds it is run on; all when None.

    Cuts without an optimizer are not run.
    """

    name: str
    mode: Mode
    exact: Optimizers
    training: Mapping[str, Any] = field(default_factory=dict)
    zeroth_order: Mapping[str, Any] = field(default_factory=dict)
    estimated: Optimizers = field(default_factory=dict)
    num_seeds: int | None = None

    def tuned(self, cut: int) -> Mapping[str, Any]:
        """Return the optimizer that a grid varies: of estimated gradients where there are any."""
        return self.estimated[cut] if self.estimated else self.exact[cut]

    def described(self, cut: int) -> str:
        """Return optimizers and learning rates in words."""
        exact = f"{self.exact[cut]['name']} {self.exact[cut]['learning_rate']:g}"
        if not self.estimated:
            return exact
        estimated = f"{self.estimated[cut]['name']} {self.estimated[cut]['learning_rate']:g}"
        return estimated if "server_gradient" in self.training else f"{estimated}; server {exact}"


@dataclass(frozen=True)
class Study:
    """A model, its data and a sample budget, the same for all rows.

    Parameters
    ----------
    name
        For the command line.
    model, data, training
        Sections of the scenario; ``training`` lacks modes and optimizers.
    rows
        What is compared; the first is the control.
    """

    name: str
    model: Mapping[str, Any]
    data: Mapping[str, Any]
    training: Mapping[str, Any]
    rows: tuple[Row, ...]

    @property
    def cuts(self) -> list[int]:
        """Cuts of the tables."""
        return sorted(self.rows[0].exact)

    @property
    def steps(self) -> int:
        """Steps of a run: samples are this times the batch size."""
        return int(self.training["rounds"] * self.training["local_steps"])

    def with_steps(self, steps: int) -> Study:
        """Return the study with another sample budget, in as many rounds."""
        local_steps = max(1, round(steps / self.training["rounds"]))
        return replace(self, training={**self.training, "local_steps": local_steps})

    def row(self, name: str) -> Row:
        """Return a row by name."""
        return next(row for row in self.rows if row.name == name)

    def scenario(self, row: Row, cut: int, seed: int, learning_rate: float | None = None) -> Scenario:
        """Return the scenario of one run, with one client and all of the radio and the server to it.

        Parameters
        ----------
        row, cut, seed
            Which run.
        learning_rate
            One of a grid; the row's own when None.
        """
        tuned = row.tuned(cut) if learning_rate is None else {**row.tuned(cut), "learning_rate": learning_rate}
        training = {
            **self.training,
            **row.training,
            "modes": [str(row.mode)],
            "optimizer": row.exact[cut] if row.estimated else tuned,
        }
        if row.estimated:
            training["zeroth_order"] = {**row.zeroth_order, "optimizer": tuned}
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


def _sgd(learning_rate: float, weight_decay: float = 0.0) -> dict[str, Any]:
    return {"name": "sgd", "learning_rate": learning_rate, "weight_decay": weight_decay}


def _adamw(learning_rate: float) -> dict[str, Any]:
    return {"name": "adamw", "learning_rate": learning_rate, "weight_decay": 0.0}


def _signs(num_directions: int) -> dict[str, Any]:
    return {"directions": num_directions, "distribution": "rademacher"}


_PURE = {"server_gradient": "zeroth-order"}
_NORMS = {"trainable": {"method": "biases-and-norms"}}


_DIGITS = {"source": "digits", "image_size": 16, "partition": {"scheme": "iid"}}


def _residual(embedding_size: int, hidden_sizes: list[int], depths: list[int]) -> dict[str, Any]:
    config = {
        "model_type": "resnet", "layer_type": "basic", "num_channels": 1, "embedding_size": embedding_size,
        "hidden_sizes": hidden_sizes, "depths": depths, "num_labels": 10,
    }  # fmt: skip
    return {"task": "image-classification", "config": config}


_ON_DIGITS = {
    "batch_size": 32, "local_steps": 48, "rounds": 10, "optimizer_state": "keep",
    "learning_rate_schedule": {"shape": "linear"},
}  # fmt: skip


def digits() -> Study:
    """Narrow residual network from drawn weights on scikit-learn's digits; behind cut 3 only the classifier remains."""
    exact, server = {2: _sgd(0.3), 3: _sgd(0.3)}, {2: _adamw(0.03), 3: _sgd(1.0)}
    estimated, from_losses = {2: _sgd(1e-3), 3: _sgd(1e-2)}, {2: _sgd(3e-4), 3: _sgd(3e-3)}
    pure = {2: _sgd(3e-3), 3: _sgd(3e-3)}
    rows = (
        Row("frozen", Mode.FROZEN, {2: _adamw(0.03), 3: _adamw(1.0)}),
        Row("fo", Mode.FO, exact),
        Row("fo-recompute", Mode.FO_RECOMPUTE, exact),
        Row("zo-projection P=16", Mode.ZO_PROJECTION, server, {}, _signs(16), estimated),
        Row("zo-loss Q=4", Mode.ZO_LOSS, server, {}, _signs(4), from_losses, num_seeds=3),
        Row("pure zeroth-order Q=4", Mode.ZO_LOSS, server, _PURE, _signs(4), pure, num_seeds=3),
    )
    return Study("digits", _residual(8, [8, 16], [1, 1]), _DIGITS, _ON_DIGITS, rows)


def quickstart() -> Study:
    """Quickstart's wider and deeper network, with ten times the client parameters, on the same data."""
    exact, server = {5: _sgd(0.3, 1e-3), 6: _sgd(0.3, 1e-3)}, {5: _sgd(0.1, 1e-3), 6: _sgd(0.1, 1e-3)}
    estimated = {5: _sgd(3e-3), 6: _sgd(3e-3)}
    rows = (
        Row("frozen", Mode.FROZEN, {5: _sgd(1.0), 6: _adamw(1.0)}),
        Row("fo", Mode.FO, exact),
        Row("fo-recompute", Mode.FO_RECOMPUTE, exact),
        Row("zo-projection P=16", Mode.ZO_PROJECTION, server, {}, _signs(16), estimated, num_seeds=3),
        Row("fo, norms", Mode.FO, {6: _sgd(1.0)}, _NORMS),
        Row("fo-recompute, norms", Mode.FO_RECOMPUTE, {6: _sgd(1.0)}, _NORMS),
        Row("zo-projection P=16, norms", Mode.ZO_PROJECTION, {6: _adamw(0.1)}, _NORMS, _signs(16), {6: _adamw(0.03)}),
        Row("zo-projection P=64, norms", Mode.ZO_PROJECTION, {6: _adamw(0.1)}, _NORMS, _signs(64), {6: _adamw(0.03)}),
        Row("zo-loss Q=8, norms", Mode.ZO_LOSS, {6: _adamw(0.1)}, _NORMS, _signs(8), {6: _adamw(0.01)}),
    )
    return Study("quickstart", _residual(16, [16, 32, 64], [2, 2, 1]), _DIGITS, _ON_DIGITS, rows)


def polarity(checkpoint: Path, text_folder: Path) -> Study:
    """Pretrained MiniLM with rank-1 adapters on movie-review sentences."""
    adapters = {"method": "lora", "rank": 1, "alpha": 2.0, "target_modules": ["query", "value"]}
    exact, server = {3: _adamw(3e-3), 7: _adamw(3e-3)}, {3: _adamw(3e-3), 7: _adamw(1e-2)}
    estimated = {3: _adamw(1e-2), 7: _adamw(1e-2)}
    rows = (
        Row("frozen", Mode.FROZEN, server),
        Row("fo", Mode.FO, exact),
        Row("fo-recompute", Mode.FO_RECOMPUTE, exact),
        Row("zo-projection P=8", Mode.ZO_PROJECTION, server, {}, _signs(8), estimated),
        Row("zo-loss Q=2", Mode.ZO_LOSS, server, {}, _signs(2), estimated),
        Row("pure zeroth-order Q=2", Mode.ZO_LOSS, server, _PURE, _signs(2), estimated),
    )
    training = {
        "trainable": adapters, "batch_size": 16, "sequence_length": 32, "local_steps": 24,
        "rounds": 5, "optimizer_state": "keep", "learning_rate_schedule": {"shape": "linear"},
    }  # fmt: skip
    data = {
        "source": "text-table", "path": str(text_folder / POLARITY_FILE), "tokenizer": str(checkpoint),
        "test_fraction": 0.25, "partition": {"scheme": "iid"},
    }  # fmt: skip
    return Study("polarity", {"task": "sequence-classification", "checkpoint": str(checkpoint)}, data, training, rows)
