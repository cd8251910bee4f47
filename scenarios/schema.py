"""The scenario: one YAML document that states what is to be planned, trained and replayed.

All models are frozen and strict and reject unknown keys. A key that holds a quantity carries its unit in its name and
accepts text with a unit (``512 MiB``, ``20 MHz``) or a bare number in the unit of the name. The attribute docstrings
below become the descriptions of the exported JSON Schema.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from scenarios.contracts.modes import Mode
from scenarios.devices import Device
from scenarios.units import Bytes, Hertz

SCENARIO_SCHEMA_VERSION = 1

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Section(BaseModel):
    """A part of a scenario: frozen, strict, unknown keys rejected."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True)


class Model(Section):
    """The model: a transformers configuration by value, or a checkpoint."""

    task: Literal["image-classification", "sequence-classification", "causal-lm"]
    """What the head predicts; it decides the loss and the size of the labels."""
    config: dict[str, Any] | None = None
    """A transformers configuration by value, with its ``model_type``; the weights are drawn from the seed."""
    checkpoint: str | None = None
    """A local folder, or a name on the Hugging Face hub, with configuration and weights."""

    @model_validator(mode="after")
    def _exactly_one_origin(self) -> Self:
        if (self.config is None) == (self.checkpoint is None):
            raise ValueError("needs exactly one of 'config' (by value) and 'checkpoint' (a folder or hub name)")
        if self.config is not None and "model_type" not in self.config:
            raise ValueError("config needs the key 'model_type', for example 'opt', 'bert', 'vit' or 'resnet'")
        return self


class Iid(Section):
    """Every client's samples are drawn from the same distribution."""

    scheme: Literal["iid"]


class Dirichlet(Section):
    """Label proportions of each client drawn from a Dirichlet distribution (Hsu et al., arXiv 1909.06335)."""

    scheme: Literal["dirichlet"]
    alpha: PositiveFloat
    """Concentration: small values give each client few labels, large ones approach IID."""


class ByKey(Section):
    """Samples that share a natural key (a writer, a role) stay together on one client."""

    scheme: Literal["by-key"]
    key: str
    """Name of the key: ``label``, or a column of the data that the source declares."""


Partition = Annotated[Iid | Dirichlet | ByKey, Field(discriminator="scheme")]


class Digits(Section):
    """The 1,797 handwritten digits that ship with scikit-learn, one channel, 8 x 8, upsampled."""

    source: Literal["digits"]
    image_size: Annotated[int, Field(ge=8, le=256)] = 16
    """Side of the upsampled square image, pixels."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the samples held out for the test accuracy."""
    partition: Partition = Iid(scheme="iid")
    """How samples are dealt to clients."""


class SyntheticTokens(Section):
    """Seeded token sequences whose label, or next token, follows from the tokens: there is something to learn."""

    source: Literal["synthetic-tokens"]
    num_samples: PositiveInt = 2048
    """Number of sequences."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the samples held out for the test accuracy."""
    partition: Partition = Iid(scheme="iid")
    """How samples are dealt to clients."""


class TextTable(Section):
    """Sentences and labels from a CSV or TSV file, tokenized with a local or hub tokenizer."""

    source: Literal["text-table"]
    path: str
    """The file, relative to the scenario file; ``.tsv`` is split at tabs, anything else at commas."""
    tokenizer: str
    """A local folder or hub name for ``AutoTokenizer``."""
    text_column: str = "sentence"
    """Column that holds the text."""
    label_column: str = "label"
    """Column that holds an integer label."""
    key_column: str | None = None
    """Column of the natural key for the ``by-key`` partition."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the samples held out for the test accuracy."""
    partition: Partition = Iid(scheme="iid")
    """How samples are dealt to clients."""


class ImageArchive(Section):
    """Images and labels from an ``.npz`` file with the arrays ``images`` and ``labels``."""

    source: Literal["image-archive"]
    path: str
    """The file, relative to the scenario file; ``images`` is [N, H, W] or [N, H, W, C], ``labels`` is [N]."""
    image_size: Annotated[int, Field(ge=8, le=1024)]
    """Side of the resized square image, pixels."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the samples held out for the test accuracy."""
    partition: Partition = Iid(scheme="iid")
    """How samples are dealt to clients."""


Data = Annotated[Digits | SyntheticTokens | TextTable | ImageArchive, Field(discriminator="source")]


class TrainAll(Section):
    """Every parameter is trained."""

    method: Literal["all"]


class TrainLora(Section):
    """Low-rank adapters through PEFT, and the task head (Hu et al., arXiv 2106.09685)."""

    method: Literal["lora"]
    rank: PositiveInt = 8
    """Rank of the adapters."""
    alpha: PositiveFloat = 16.0
    """Scale of the adapters."""
    target_modules: tuple[str, ...] = ("q_proj", "v_proj")
    """Names of the linear modules that get an adapter."""


Trainable = Annotated[TrainAll | TrainLora, Field(discriminator="method")]


class Sgd(Section):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    learning_rate: PositiveFloat
    """Step size of exact gradients."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Momentum; above zero it costs one copy of the trained parameters."""
    weight_decay: NonNegativeFloat = 0.0
    """L2 penalty."""


class AdamW(Section):
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101); its state costs two copies of the trained parameters."""

    name: Literal["adamw"]
    learning_rate: PositiveFloat
    """Step size of exact gradients."""
    weight_decay: NonNegativeFloat = 0.01
    """Decoupled weight decay."""


Optimizer = Annotated[Sgd | AdamW, Field(discriminator="name")]


class ZerothOrder(Section):
    """How zeroth-order clients estimate their gradient; they step by plain SGD so that scalars replay exactly."""

    directions: PositiveInt = 4
    """Directions a step: P of ``zo-projection`` and Q of ``zo-loss``."""
    radius: PositiveFloat = 1e-3
    """Perturbation radius (mu, or epsilon)."""
    learning_rate: PositiveFloat = 1e-4
    """Step size of estimated gradients; far below the exact one, since their variance grows with the dimension."""
    effective_dimension: PositiveInt | None = None
    """Dimension in the expected progress of an estimate; the number of trainable client parameters when absent."""


class Training(Section):
    """What is trained, with what, and for how long."""

    trainable: Trainable = TrainAll(method="all")
    """All parameters, or adapters."""
    optimizer: Optimizer
    """Optimizer of exact gradients, on both sides; its state starts afresh every round."""
    batch_size: PositiveInt
    """Samples a client takes each step; always full."""
    sequence_length: PositiveInt | None = None
    """Tokens a sample; needed for text, refused for images."""
    local_steps: PositiveInt = 1
    """Steps between two aggregations."""
    rounds: PositiveInt = 1
    """Rounds of a run."""
    modes: Annotated[tuple[Mode, ...], Field(min_length=1)] = (
        Mode.FO,
        Mode.FO_RECOMPUTE,
        Mode.ZO_PROJECTION,
        Mode.ZO_LOSS,
    )
    """Modes the planner may choose from; ``frozen`` only where it is listed."""
    zeroth_order: ZerothOrder = ZerothOrder()
    """Settings of the zeroth-order modes."""
    frozen_control: bool = False
    """Also train the control in which every client part stays frozen, to show what client-side training brings."""

    @model_validator(mode="after")
    def _modes_once(self) -> Self:
        if len(set(self.modes)) != len(self.modes):
            raise ValueError(f"modes lists a mode twice: {', '.join(self.modes)}")
        return self


class FixedLink(Section):
    """A link whose rate is proportional to its share of the band."""

    uplink_bps_per_hz: PositiveFloat
    """Uplink spectral efficiency, bit/s per Hz (for example a row of 3GPP TS 38.214 table 5.2.2.1-2)."""
    downlink_bps_per_hz: PositiveFloat
    """Downlink spectral efficiency, bit/s per Hz."""
    trace: str | None = None
    """A recorded bandwidth trace for the replay, relative to the scenario file; the plan uses its mean."""


class ShannonLink(Section):
    """A link by Shannon's formula with the device's power fixed: a narrower share has a higher SNR."""

    path_gain_db: Annotated[float, Field(lt=0, allow_inf_nan=False)]
    """Channel gain, negative: minus the path loss in dB."""
    transmit_power_dbm: Annotated[float, Field(ge=-30, le=50)] = 23.0
    """Transmit power of the device."""
    downlink_bps_per_hz: PositiveFloat
    """Downlink spectral efficiency, bit/s per Hz: the power density is constant there, so the rate is linear."""
    trace: str | None = None
    """A recorded bandwidth trace for the replay, relative to the scenario file; the plan uses its mean."""


def _link_kind(value: object) -> str:
    keys = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    return "shannon" if "path_gain_db" in keys or "transmit_power_dbm" in keys else "fixed"


Link = Annotated[Annotated[FixedLink, Tag("fixed")] | Annotated[ShannonLink, Tag("shannon")], Discriminator(_link_kind)]


class Radio(Section):
    """The spectrum all clients share."""

    link_model: Literal["fixed", "shannon"]
    """``fixed``: rate proportional to the share; ``shannon``: device power fixed."""
    uplink_hz: Hertz
    """Uplink bandwidth, all clients together."""
    downlink_hz: Hertz
    """Downlink bandwidth, all clients together."""
    noise_dbm_per_hz: Annotated[float, Field(ge=-200, le=-100)] = -174.0
    """Noise power density; used by ``shannon``."""


class Server(Section):
    """The edge server that holds the upper blocks."""

    device: str
    """A device of the catalogue or of ``devices``."""
    load: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the server that others use already; the rest is planned."""
    memory_bytes: Bytes | None = None
    """Memory for all server parts together; unlimited when absent."""


class ClientGroup(Section):
    """Clients that are alike."""

    group: Identifier
    """Name of the group; clients are called ``group-0``, ``group-1``, ..."""
    device: str
    """A device of the catalogue or of ``devices``."""
    count: PositiveInt = 1
    """Number of clients."""
    memory_budget_bytes: Bytes
    """What training may use on each device: a hard limit, enforced in the run."""
    link: Link
    """Radio link of each client."""
    data_share: PositiveFloat = 1.0
    """Samples of each client, relative to the other clients."""
    min_cut: PositiveInt = 1
    """Shallowest cut allowed, for privacy: a shallow cut reveals the input."""


class Objective(Section):
    """What the planner minimises."""

    minimise: Literal["time-to-progress", "round-latency"] = "time-to-progress"
    """``time-to-progress``: round latency divided by expected progress; ``round-latency`` needs ``minimum_progress``
    to be meaningful where modes differ."""
    minimum_progress: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Least expected progress a round may have; 1 is exact gradients everywhere."""
    gradient_split: Literal["measured", "assumed"] = "assumed"
    """How the squared gradient norm divides over blocks: ``measured`` on a few batches of the data with the starting
    weights, or ``assumed`` proportional to trainable parameters (and labelled so)."""


@dataclass(frozen=True)
class Client:
    """One client of an expanded scenario; ``data_weight`` sums to 1 over clients."""

    id: str
    group: str
    device: str
    memory_budget_bytes: int
    link: FixedLink | ShannonLink
    data_weight: float
    min_cut: int


class Scenario(Section):
    """One scenario: model, data, training, radio, server, clients and objective."""

    schema_version: Literal[1] = 1
    """Version of this schema."""
    name: Identifier
    """Short name, used for folders and titles."""
    description: str = ""
    """What this scenario shows, for people."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """The one seed all random streams are derived from."""
    model: Model
    """What is trained."""
    data: Data
    """What it is trained on, and how that is spread over clients."""
    training: Training
    """How it is trained."""
    server: Server
    """Where the upper blocks run."""
    radio: Radio
    """What the clients share."""
    clients: Annotated[tuple[ClientGroup, ...], Field(min_length=1)]
    """Who takes part."""
    objective: Objective = Objective()
    """What is minimised."""
    devices: dict[Identifier, Device] = Field(default_factory=dict)
    """Devices of your own, beside the catalogue; same keys as ``scenarios/devices.yaml``."""

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        names = [group.group for group in self.clients]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"clients: the group names {', '.join(sorted(twice))} occur twice; each needs its own")
        needed = ShannonLink if self.radio.link_model == "shannon" else FixedLink
        for index, group in enumerate(self.clients):
            if not isinstance(group.link, needed):
                keys = (
                    "path_gain_db, downlink_bps_per_hz"
                    if needed is ShannonLink
                    else "uplink_bps_per_hz, downlink_bps_per_hz"
                )
                raise ValueError(
                    f"clients.{index}.link: radio.link_model is {self.radio.link_model!r}, which needs the keys {keys}"
                )
        is_image = self.model.task == "image-classification"
        if is_image != isinstance(self.data, (Digits, ImageArchive)):
            raise ValueError(
                f"data.source: found {self.data.source!r}, which does not fit model.task {self.model.task!r}"
            )
        if is_image and self.training.sequence_length is not None:
            raise ValueError("training.sequence_length: images have none; remove the key")
        if not is_image and self.training.sequence_length is None:
            raise ValueError("training.sequence_length: is needed for text; add it, for example 'sequence_length: 128'")
        return self

    @property
    def num_clients(self) -> int:
        """Number of clients over all groups."""
        return sum(group.count for group in self.clients)

    def expanded_clients(self) -> tuple[Client, ...]:
        """Return every client of every group, in order, with its data weight."""
        total = math.fsum(group.count * group.data_share for group in self.clients)
        return tuple(
            Client(
                id=f"{group.group}-{index:0{len(str(group.count - 1))}d}",
                group=group.group,
                device=group.device,
                memory_budget_bytes=group.memory_budget_bytes,
                link=group.link,
                data_weight=group.data_share / total,
                min_cut=group.min_cut,
            )
            for group in self.clients
            for index in range(group.count)
        )

    def resolved(self) -> dict[str, Any]:
        """Return the scenario as plain JSON values, defaults filled in."""
        return self.model_dump(mode="json")

    def content_hash(self) -> str:
        """SHA-256 of the resolved scenario: equal exactly when two scenarios state the same."""
        canonical = json.dumps(self.resolved(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()
