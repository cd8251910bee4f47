"""What every data source must keep: it gives what its section states, and what the profiler traces."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
import torch

from hybridsplit.profiler.models import traced_model
from hybridsplit.runtime.data.partition import draw_batch, partition
from hybridsplit.runtime.data.sources import Dataset, load_dataset
from hybridsplit.runtime.models.configuration import model_config
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import ImageSource, Scenario, TextSource
from hybridsplit.scenarios.sections.data import DATA_SOURCES
from hybridsplit.testing.families import LENGTH, family_scenario


class DataSourceContract:
    """Subclass it, and state a section of the source, as it stands under ``data`` in a scenario.

    It loads, the same seed gives the same samples, batches have the shapes, types and masks that the profiler traces,
    labels are classes of the data, samples can be dealt to clients, and a wrong key or file gives an error that says
    so. The section should have at least some hundred samples.
    """

    section: ClassVar[dict[str, Any]]
    """Keys under ``data``; their files are in the folder that :meth:`write_files` fills."""
    model: ClassVar[dict[str, Any] | None] = None
    """A model section that fits, whose files are written with the data's; when None, a tiny ViT of 16 x 16 images with
    one channel, or a tiny BERT."""

    def write_files(self, folder: Path) -> None:
        """Write the files that the section names, relative to a folder; nothing unless overridden."""

    @property
    def kind(self) -> type[Any]:
        """The class of the section."""
        return DATA_SOURCES[self.section["source"]]  # type: ignore[no-any-return]

    def document(self, changes: Mapping[str, Any], *, seed: int = 0) -> dict[str, Any]:
        """Return a scenario of two clients around the section, with some of its keys changed."""
        is_image = issubclass(self.kind, ImageSource)
        document = family_scenario("vit" if is_image else "bert").resolved()
        if self.model is not None:
            document["model"] = self.model
        is_text = document["model"]["task"] in TextSource.tasks
        document["training"]["sequence_length"] = LENGTH if is_text else None
        return document | {"seed": seed, "data": self.section | dict(changes)}

    def scenario(self, folder: Path, changes: Mapping[str, Any] = MappingProxyType({}), *, seed: int = 0) -> Scenario:
        """Return the scenario of :meth:`document`, with the section's files written."""
        self.write_files(folder)
        return validate_scenario(self.document(changes, seed=seed), "contract", folder)

    def test_samples_are_what_the_section_states(self, tmp_path: Path) -> None:
        """As many inputs as labels, masks and keys; labels are classes of the data."""
        scenario = self.scenario(tmp_path)
        dataset = load_dataset(scenario)
        held_out = len(dataset.test) / (len(dataset.train) + len(dataset.test))
        assert held_out == pytest.approx(scenario.data.test_fraction, abs=0.05)
        for samples in (dataset.train, dataset.test):
            assert len(samples.labels) == len(samples.keys_N) == len(samples.inputs)
            assert samples.labels.dtype == samples.keys_N.dtype == torch.long
            if scenario.model.task == "causal-lm":
                assert samples.labels.shape == samples.inputs.shape
            else:
                assert samples.labels.ndim == 1
                assert 0 <= int(samples.labels.min()) <= int(samples.labels.max()) < dataset.num_classes
            if samples.inputs.is_floating_point():
                assert torch.isfinite(samples.inputs).all()
            else:
                assert 0 <= int(samples.inputs.min()) <= int(samples.inputs.max()) < _vocabulary(scenario)
        assert len(set(dataset.train.labels.flatten().tolist())) > 1

    def test_the_same_seed_gives_the_same_samples(self, tmp_path: Path) -> None:
        """And another seed another division into training and test, at least."""
        first = load_dataset(self.scenario(tmp_path))
        assert _is_equal(first, load_dataset(self.scenario(tmp_path)))
        assert not _is_equal(first, load_dataset(self.scenario(tmp_path, seed=1)))

    def test_a_batch_is_what_the_profiler_traces(self, tmp_path: Path) -> None:
        """Shape, type and presence of inputs, labels and mask: costs are predicted from these."""
        scenario = self.scenario(tmp_path)
        traced = traced_model(scenario).batch
        samples = load_dataset(scenario).train
        for client, index in partition(samples, scenario).items():
            real = draw_batch(samples, index, scenario, client, 0)
            for found, expected in ((real.inputs, traced.inputs), (real.labels, traced.labels)):
                assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
            assert (real.mask_BS is None) == (traced.mask_BS is None)
            if real.mask_BS is not None and traced.mask_BS is not None:
                assert (real.mask_BS.shape, real.mask_BS.dtype) == (traced.mask_BS.shape, traced.mask_BS.dtype)
                assert real.mask_BS.any(dim=1).all()

    def test_samples_are_dealt_to_clients(self, tmp_path: Path) -> None:
        """Each once, in every way that the section offers, and the same way again."""
        keys = self.scenario(tmp_path).data.natural_keys
        by_key = [{"scheme": "by-key", "key": key} for key in keys]
        for scheme in ({"scheme": "iid"}, {"scheme": "dirichlet", "alpha": 100.0}, *by_key):
            scenario = self.scenario(tmp_path, {"partition": scheme})
            samples = load_dataset(scenario).train
            dealt = partition(samples, scenario)
            assert set(dealt) == {client.id for client in scenario.expanded_clients()}
            assert torch.equal(torch.cat(list(dealt.values())).sort().values, torch.arange(len(samples)))
            again = partition(samples, scenario)
            assert all(torch.equal(index, again[client]) for client, index in dealt.items())

    def test_an_unknown_key_is_refused_by_name(self, tmp_path: Path) -> None:
        """With the message that a user gets."""
        with pytest.raises(ScenarioError, match="no_such_key"):
            self.scenario(tmp_path, {"no_such_key": 1})

    def test_a_missing_file_is_refused_by_key(self, tmp_path: Path) -> None:
        """Before anything is loaded."""
        for key in (*self.kind.file_keys, *self.kind.directory_keys):
            with pytest.raises(ScenarioError, match=rf"data\.{key}"):
                self.scenario(tmp_path, {key: "no-such-file"})

    def test_a_file_that_is_something_else_is_refused(self, tmp_path: Path) -> None:
        """Whatever its reader raises becomes an error that names the data."""
        for key in self.kind.file_keys:
            named = self.section.get(key) or next(self.section[k] for k in self.kind.file_keys if k in self.section)
            other = f"other-{Path(str(named)).name}"
            (tmp_path / other).write_bytes(b"\x89\x00 nothing of the kind\n\xff")
            scenario = self.scenario(tmp_path, {key: other})
            with pytest.raises(ScenarioError, match="data"):
                load_dataset(scenario)


def _is_equal(one: Dataset, other: Dataset) -> bool:
    return all(
        torch.equal(a.inputs, b.inputs) and torch.equal(a.labels, b.labels)
        for a, b in ((one.train, other.train), (one.test, other.test))
    )


def _vocabulary(scenario: Scenario) -> int:
    return int(model_config(scenario.model).vocab_size)
