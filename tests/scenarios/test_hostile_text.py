"""Text made to break a reader is refused at once, briefly, and by its place."""

from __future__ import annotations

import itertools
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import builtin_text, load_scenario, scenario_of_values
from hybridsplit.scenarios.shown import LONGEST_CHARACTERS, shown
from hybridsplit.scenarios.yaml_text import strict_yaml

LONGEST_MESSAGE = 1_000


def refusal(*overrides: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        load_scenario("quickstart", list(overrides))
    assert len(str(caught.value)) < LONGEST_MESSAGE
    return str(caught.value)


def refusal_of_text(folder: Path, text: str) -> str:
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(str(folder / "mine.yaml"))
    return str(caught.value)


def bomb(levels: int, width: int, first: str, item: str) -> str:
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{n}: &a{n} " + item.format(", ".join([f"*a{n - 1}"] * width)) for n in range(1, levels)]
    return "\n".join(lines) + "\n"


BOMBS = [
    bomb(12, 8, "[1, 2]", "[{}]"),
    bomb(12, 8, "{x: 1}", "{{<<: [{}]}}"),
    bomb(12, 8, "{x: 1}", "{{y: [{}]}}"),
    bomb(2, 20_000, "x" * 10_000, "[{}]"),
]


@pytest.mark.parametrize("text", BOMBS, ids=itertools.count())
def test_aliases_are_counted_as_they_expand(tmp_path: Path, text: str) -> None:
    tracemalloc.start()
    begin_s = time.process_time()
    try:
        said = refusal_of_text(tmp_path, text + builtin_text("quickstart"))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "mine.yaml, line" in said
    assert "aliases that repeat more than 100,000 values" in said
    assert peak_bytes < 50e6
    assert time.process_time() - begin_s < 5
    (tmp_path / "device.yaml").write_text(text + "schema_version: 1\ndevices: {}\n", encoding="utf-8")
    assert "aliases that repeat" in refusal(f"device_files=[{tmp_path}/device.yaml]")
    assert "aliases that repeat" in refusal("description=" + "{" + text.replace("\n", ", ") + "}")


@given(st.recursive(st.just("*a"), lambda inner: st.lists(inner, max_size=4).map(lambda x: f"[{', '.join(x)}]")))
@settings(max_examples=50)
def test_aliases_within_the_limit_are_read(text: str) -> None:
    assert strict_yaml(f"- &a {{x: 1}}\n- {text}")[0] == {"x": 1}


def test_like_groups_may_share_a_link(tmp_path: Path) -> None:
    text = builtin_text("quickstart").replace("link: {", "link: &link {", 1)
    again = "".join(
        f"  - {{group: more{n}, device: rpi5_8gb, memory_budget_bytes: 1 MiB, link: *link}}\n" for n in range(500)
    )
    head, clients = text.split("\nclients:\n")
    groups, objective = clients.split("\nobjective:")
    (tmp_path / "mine.yaml").write_text(f"{head}\nclients:\n{groups}\n{again}\nobjective:{objective}", encoding="utf-8")
    assert len(load_scenario(str(tmp_path / "mine.yaml")).clients) == 505


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("description=" + "[" * 70_000 + "]" * 70_000, "more than 64 levels"),
        ("a" + ".a" * 70_000 + "=1", "the key path has 70001 parts; needs at most 64"),
        ("seed=" + "7" * 400, "seed: found a number of about 400 digits; needs a number below"),
        ("seed=" + "7" * 5_000, "a number of 5000 characters"),
        ("seed=1" + ":59" * 2_000, "a number of 6001 characters"),
        ("seed=0b" + "1" * 5_000, "a number of 5002 characters"),
        ("seed=&a [*a]", "the alias *'a' inside of what it names"),
        ("description=!!set {a, b}", "description: found {"),
        ("description=!!binary aGVsbG8=", "description: found b'hello' (bytes)"),
        ("clients.0.count=2021-02-03", "clients.0.count: found datetime.date(2021, 2, 3) (date)"),
        ("devices={2021-02-03: {}}", "devices.(key): found datetime.date"),
        ('description="\\ud800"', "description: found '\\ud800' in the text, half of a character"),
        ("name=" + "x" * 70_000, "name: found 'xxx"),
        ("x" * 70_000 + "=1", "unknown key 'xxx"),
        ("data.source=" + "x" * 70_000, "data: source: found 'xxx"),
        ("clients.pi4.device=" + "x" * 70_000, "clients.0.device: unknown device 'xxx"),
        ("training.rounds=" + "x" * 70_000, "training.rounds: found 'xxx"),
        ("radio.uplink_hz='1 a" + " " * 70_000 + "b'", "whose unit 'a"),
        ("device_files=[~nosuchuser/x]", "device_files.0: found '~nosuchuser/x', which is no path of a file"),
        ('device_files=["a\\0b"]', "device_files.0: found 'a\\x00b', which is no path of a file"),
        (f"device_files=[{'x' * 5_000}]", "device_files.0: found 'xxx"),
        ("clients.0.link.trace=~nosuchuser/x", "clients.0.link.trace: found '~nosuchuser/x'"),
        ('data={source: image-archive, path: "a\\0b", image_size: 16}', "data.path: found 'a\\x00b'"),
        ("model={task: causal-lm, checkpoint: ~nosuchuser/x}", "model.checkpoint: found '~nosuchuser/x'"),
        ("model.config.model_type=[{a: 1}]", "config.model_type: found [{'a': 1}]; needs text"),
    ],
    ids=itertools.count(),
)  # fmt: skip
def test_hostile_values_are_named_and_cut(override: str, says: str) -> None:
    assert says in refusal(override)


def test_many_faults_are_counted_and_few_are_shown(tmp_path: Path) -> None:
    said = refusal_of_text(tmp_path, "".join(f"key{n}: 1\n" for n in range(20_000)) + builtin_text("quickstart"))
    assert len(said.splitlines()) == 21
    assert "and 19,980 more faults" in said
    said = refusal_of_text(tmp_path, "clients:\n" + "".join(f"- {{group: a{n}}}\n" for n in range(20_000)))
    assert "clients.0.device: this key is needed and absent" in said
    assert len(said.splitlines()) == 21


@pytest.mark.parametrize("name", ["a\0b", "x" * 5_000, "~nosuchuser/x", "quick\ud800"])
def test_names_that_no_file_can_have(name: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(name)
    assert len(str(caught.value)) < LONGEST_MESSAGE


def test_values_from_python_may_contain_themselves() -> None:
    cyclic: dict[str, Any] = {}
    cyclic["a"] = cyclic
    with pytest.raises(ScenarioError, match="more than 64 levels"):
        scenario_of_values(cyclic, {})
    with pytest.raises(ScenarioError, match=r"seed\.a.*more than 64 levels"):
        load_scenario("quickstart", {"seed": cyclic})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_what_fits_is_shown_whole_and_all_else_cut(value: object) -> None:
    text = repr(value)
    assert shown(value) == text if len(text) <= LONGEST_CHARACTERS else len(shown(value)) == LONGEST_CHARACTERS
