"""Both parsers read the same, and errors are in the words of the one in Python."""

from __future__ import annotations

import gc
from contextlib import suppress

import pytest
import yaml

from hybridsplit.scenarios import yaml_text
from hybridsplit.scenarios.loader import builtin_names, builtin_text
from hybridsplit.scenarios.yaml_text import strict_yaml


@pytest.mark.parametrize("name", builtin_names())
def test_built_in_scenarios_read_the_same(name: str) -> None:
    assert strict_yaml(builtin_text(name)) == yaml.load(builtin_text(name), Loader=yaml_text._StrictLoader)


@pytest.mark.parametrize(
    "text", ["a: 1e-3", "a: .5e2", "a: 0o17", "a: 1_000", "a: yes", "a: 2024-01-01", "a: &x [1]\nb: *x", "a: 12:30", ""]
)
def test_scalars_read_the_same(text: str) -> None:
    assert strict_yaml(text) == yaml.load(text, Loader=yaml_text._StrictLoader)


@pytest.mark.parametrize("text", ["a: [1", "a: 1\na: 2", "? [1]\n: 2", "a: b: c", "\t- a", "a: 'x", "a: *x", "{"])
def test_errors_are_worded_and_placed_as_by_the_parser_in_python(text: str) -> None:
    with pytest.raises(yaml.YAMLError) as expected:
        yaml.load(text, Loader=yaml_text._StrictLoader)
    with pytest.raises(yaml.YAMLError) as found:
        strict_yaml(text)
    assert str(found.value) == str(expected.value)


def test_the_collector_works_again_whatever_is_read() -> None:
    for text in ("a: 1", "a: [", "a: 1\na: 2"):
        with suppress(*yaml_text.UNREADABLE):
            strict_yaml(text)
        assert gc.isenabled()
