"""The scenario: one YAML document that states what is to be planned, trained and replayed.

All models are frozen and strict and reject unknown keys. A quantity carries its unit in its key and takes text with a
unit (``512 MiB``) or a bare number in it. Attribute docstrings become the descriptions of the exported JSON Schema.
"""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

import hashlib
import json
from typing import Annotated, Any, Literal, Self, cast

from pydantic import Field, model_validator

from hybridsplit.scenarios.agreement import disagreements
from hybridsplit.scenarios.devices import Device
from hybridsplit.scenarios.expansion import Client, expanded
from hybridsplit.scenarios.model_variants import variant_problems
from hybridsplit.scenarios.sections.base import Identifier, PositiveFloat, Section
from hybridsplit.scenarios.sections.data import (
    DATA_SOURCES,
    ByKey,
    Data,
    DataSource,
    Digits,
    Dirichlet,
    Iid,
    ImageArchive,
    ImageFolder,
    ImageSource,
    NumberSource,
    NumberTable,
    Partition,
    PythonData,
    SavedDataset,
    SyntheticTokens,
    TextSource,
    TextTable,
)
from hybridsplit.scenarios.sections.model import Model
from hybridsplit.scenarios.sections.network import (
    LINK_MODELS,
    AnyLink,
    ClientGroup,
    FixedLink,
    Link,
    LinkModel,
    Radio,
    RatedLink,
    Server,
    ShannonLink,
)
from hybridsplit.scenarios.sections.objective import AGREEING, Objective
from hybridsplit.scenarios.sections.pilot import PilotConstants
from hybridsplit.scenarios.sections.training import (
    AdamW,
    GradientClip,
    LearningRateSchedule,
    Optimizer,
    Sgd,
    Trainable,
    TrainAll,
    TrainBiasesAndNorms,
    Training,
    TrainLora,
    ZerothOrder,
)
from hybridsplit.scenarios.sections.variants import MOST_MODELS, Variant

__all__ = [
    "SCENARIO_SCHEMA_VERSION",
    "AdamW",
    "AnyLink",
    "ByKey",
    "Client",
    "ClientGroup",
    "Data",
    "DataSource",
    "Digits",
    "Dirichlet",
    "Faults",
    "FixedLink",
    "GradientClip",
    "Iid",
    "ImageArchive",
    "ImageFolder",
    "ImageSource",
    "LearningRateSchedule",
    "Link",
    "LinkModel",
    "Model",
    "NumberSource",
    "NumberTable",
    "Objective",
    "Optimizer",
    "Partition",
    "PilotConstants",
    "PythonData",
    "Radio",
    "RatedLink",
    "SavedDataset",
    "Scenario",
    "Section",
    "Server",
    "Sgd",
    "ShannonLink",
    "SyntheticTokens",
    "TextSource",
    "TextTable",
    "TrainAll",
    "TrainBiasesAndNorms",
    "TrainLora",
    "Trainable",
    "Training",
    "Variant",
    "ZerothOrder",
]

SCENARIO_SCHEMA_VERSION = 1


class Faults(Section):
    """What a run does about clients that fail. Workers that die are replaced either way, and their work is repeated."""

    policy: Literal["fail", "drop-round", "drop-client"] = "fail"
    """A client that hangs, returns non-finite values or exceeds its memory budget: ``fail`` stops the run,
    ``drop-round`` leaves it out of that round, ``drop-client`` leaves it out from then on. Each case is recorded."""
    client_timeout_s: PositiveFloat | None = None
    """Wall-clock seconds of emulation after which a client's round counts as hanging; no limit when absent. Only the
    ``ray`` executor can enforce it."""
    worker_retries: Annotated[int, Field(ge=0, le=100)] = 3
    """How often in a row work is repeated after its worker has died, before the client counts as failed."""


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
    radio: Radio = Radio()
    """What the clients share; may be left out where every link states rates of its own."""
    clients: Annotated[tuple[ClientGroup, ...], Field(min_length=1)]
    """Who takes part."""
    objective: Objective = Objective()
    """What is minimised."""
    faults: Faults = Faults()
    """What happens when a client or a worker fails during a run."""
    devices: dict[Identifier, Device] = Field(default_factory=dict)
    """Devices of your own, beside the catalogue; same keys as ``scenarios/devices.yaml``."""
    device_files: tuple[str, ...] = ()
    """Files with more devices of your own, as ``hybridsplit profile --machine`` writes them; relative to this file.
    They are read into ``devices`` when the scenario is loaded."""
    variants: tuple[Variant, ...] = ()
    """Models that may take the place of ``model``, for ``hybridsplit search``; all other commands use ``model``."""

    @model_validator(mode="after")
    def _pilot_fits(self) -> Self:
        pilot = self.objective.pilot
        if pilot is None:
            return self
        for section, digest in self.convergence_facts().items():
            if pilot.fitted_for and pilot.fitted_for.get(section) != digest:
                raise ValueError(
                    f"objective.pilot: its constants were fitted for another section {section!r}; run 'hybridsplit "
                    f"pilot' again, or put back what {section} was then"
                )
        unknown = [name for name in pilot.client_drift if name not in {c.id for c in self.expanded_clients()}]
        if unknown:
            raise ValueError(f"objective.pilot.client_drift: found {unknown[0]!r}, which is no client of the scenario")
        return self

    @model_validator(mode="after")
    def _variants_fit(self) -> Self:
        if self.variants and (found := list(variant_problems(self.model, self.variants, MOST_MODELS))):
            raise ValueError("\n".join(found))
        return self

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        groups = [
            {
                "group": group.group,
                "link": {name: getattr(group.link, name) for name in type(group.link).model_fields},
                "drop_price_s": group.drop_price_s,
                "memory_trace": group.memory_trace,
            }
            for group in self.clients
        ]
        found = disagreements(
            {
                "model": {"task": self.model.task, "problem_type": self.model.problem_type},
                "data": {name: getattr(self.data, name) for name in type(self.data).model_fields},
                "training": self.training.facts_of_agreement(),
                "radio": {
                    "link_model": self.radio.link_model,
                    **{key: getattr(self.radio, key) for key in self.radio.model_fields_set},
                },
                "objective": {key: getattr(self.objective, key) for key in AGREEING},
                "clients": groups,
            }
        )
        if found:
            raise ValueError("\n".join(found))
        return self

    @property
    def num_clients(self) -> int:
        """Number of clients over all groups."""
        return sum(group.count for group in self.clients)

    def expanded_clients(self) -> tuple[Client, ...]:
        """Return every client of every group, in order, with its data weight; clients are expanded once."""
        known = self.__dict__.get(_EXPANDED)
        # A copy with other groups has what was kept for these.
        if known is None or known[0] is not self.clients:
            known = self.__dict__[_EXPANDED] = self.clients, tuple(expanded(self.clients))
        return cast("tuple[Client, ...]", known[1])

    def __getstate__(self) -> dict[Any, Any]:
        """Leave out what is kept: it is made again where it is asked for."""
        state = super().__getstate__()
        return {**state, "__dict__": {name: value for name, value in state["__dict__"].items() if name != _EXPANDED}}

    def resolved(self) -> dict[str, Any]:
        """Return the scenario as plain JSON values, defaults filled in."""
        return self.model_dump(mode="json")

    def convergence_facts(self) -> dict[str, str]:
        """Digests of the sections that rounds to a target depend on, without what a plan or a run may vary."""
        values = self.resolved()
        for varied in ("rounds", "modes", "batch_sizes", "overlap", "frozen_control", "replanning"):
            values["training"].pop(varied)
        values["clients"] = [[group["group"], group["count"], group["data_share"]] for group in values["clients"]]
        found = {}
        for section in ("model", "data", "training", "clients"):
            canonical = json.dumps(values[section], sort_keys=True, separators=(",", ":"))
            found[section] = hashlib.sha256(canonical.encode()).hexdigest()[:16]
        return found

    def content_hash(self) -> str:
        """SHA-256 of what is planned and trained: of all values but ``faults``, which may change when a run goes on.

        Models that ``variants`` offer in place of this scenario's are no part of its plan either.
        """
        facts = {key: value for key, value in self.resolved().items() if key not in ("faults", "variants")}
        canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


_EXPANDED = "expanded clients"
"""Under which a scenario keeps its clients; no field can have this name."""


def _rebuild() -> None:
    """Build validators anew that exist already; the others are built when first needed."""
    for section in (ClientGroup, Scenario):
        if section.__pydantic_complete__:
            section.model_rebuild(force=True)


for _registry in (DATA_SOURCES, LINK_MODELS):
    # What is registered after the first scenario was read is part of the schema too.
    _registry.when_it_grows(_rebuild)
