"""Tables are text: nothing is guessed, and what is missing is named by its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.runtime.data.partition import partition
from hybridsplit.runtime.data.sources import Dataset, load_dataset
from hybridsplit.runtime.data.table_files import read_table
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.testing.families import family_scenario

Load = Callable[..., Dataset]
WORDS = ["<pad>", "<unk>", "<eos>", "good", "bad", "film", "null", "NA", "nan", "007"]


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tokenizers")
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.save(str(folder / "core.json"))
    for name, special in (("words", {"pad_token": "<pad>"}), ("unpadded", {})):
        fast = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", eos_token="<eos>", **special)
        fast.save_pretrained(folder / name)
    (folder / "empty").mkdir()
    return folder


@pytest.fixture
def scenario_of(tmp_path: Path, tokenizers: Path) -> Callable[..., Any]:
    def make(
        text: str | bytes, *, task: str = "bert", name: str = "t.tsv", tokenizer: str = "words", **data: Any
    ) -> Any:
        content = text.encode() if isinstance(text, str) else text
        (tmp_path / name).write_bytes(content)
        document = family_scenario(task).resolved()
        document["data"] = {"source": "text-table", "path": name, "tokenizer": str(tokenizers / tokenizer), **data}
        document["training"]["batch_size"] = 1
        return validate_scenario(document, "tables", tmp_path)

    return make


@pytest.fixture
def load(scenario_of: Callable[..., Any]) -> Load:
    return lambda *args, **kwargs: load_dataset(scenario_of(*args, **kwargs))


def rows(*texts: str, label: Callable[[int], object] = lambda index: index % 2, head: str = "sentence\tlabel") -> str:
    return head + "\n" + "".join(f"{text}\t{label(index)}\n" for index, text in enumerate(texts))


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), min_size=1, max_size=8)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6))
@settings(max_examples=50)
def test_what_was_written_as_csv_is_read_back(cells: list[tuple[str, str]]) -> None:
    import tempfile

    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([("a", "b"), *cells])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(buffer.getvalue().encode())
        assert list(read_table(path).rows) == cells


def test_words_that_mean_nothing_elsewhere_are_words_here(load: Load) -> None:
    data = load(rows(*["null film", "NA film", "nan film", "007 film"] * 5))
    tokens = torch.cat([data.train.inputs, data.test.inputs])
    assert set(tokens[:, 0].tolist()) == {WORDS.index(word) for word in ("null", "NA", "nan", "007")}
    assert WORDS.index("<unk>") not in tokens.unique().tolist()


@pytest.mark.parametrize("head", ["\ufeffsentence\tlabel", "sentence\tlabel"])
def test_a_byte_order_mark_is_no_part_of_a_name(load: Load, head: str) -> None:
    assert load(rows(*["good film"] * 10, head=head)).num_classes == 2


def test_a_csv_has_quotes_and_windows_line_ends(load: Load) -> None:
    text = "sentence,label\r\n" + '"good, ""bad"" film",1\r\n"good\r\nfilm",0\r\n' * 5
    data = load(text, name="t.csv")
    lengths = torch.cat([data.train.mask_NS.sum(1), data.test.mask_NS.sum(1)])
    assert sorted(lengths.unique().tolist()) == [2, 6]


GOOD = ["good film"] * 9


@pytest.mark.parametrize(
    ("text", "settings", "says"),
    [
        (rows(*GOOD, " ", "good", ""), {}, r"text_column: .*line 11 has no 'sentence' \(missing in 2 of 12 rows\)"),
        (rows(*GOOD, label=lambda i: "" if i == 4 else i % 2), {}, r"data.label_column: .*line 6 has no 'label'"),
        (rows(*GOOD, label=lambda i: ["neg", 1][i % 2]), {}, r"line 2 has the label 'neg'; .*or names in .*the 2 "),
        (rows(*GOOD, label=lambda i: f"name {i}"), {}, "each of the 9 labels occurs once, 'name 0' first"),
        (rows(*GOOD, label=lambda i: 0.5 if i == 3 else 1.0), {}, "line 5 has the label '0.5'"),
        (rows(*GOOD, label=lambda i: -i), {}, "line 3 has the label '-1'"),
        (rows(*GOOD, label=lambda i: 5 * i), {}, "line 10 has the label 40, yet there are 9 samples; .*without gaps"),
        (rows(*GOOD, label=lambda i: "9" * 5000), {}, "line 2 has the label '999"),
        (rows(*GOOD, label=lambda i: i % 2 or "NA"), {}, "line 2 has the label 'NA'"),
        (rows(*GOOD) + "bad\n", {}, "line 11 has 1 values, the header has 2; .*tabs"),
        (rows(*GOOD) + "bad\t1\t1\n", {}, "line 11 has 3 values, the header has 2"),
        (rows(*GOOD, head="sentence\tsentence"), {}, "data.text_column: .*2 columns 'sentence'; needs one"),
        (rows(*GOOD, head="sentence;label\tx"), {}, "text_column: found 'sentence'; .*label, x; needs commas"),
        (rows(*GOOD), {"key_column": "writer"}, "data.key_column: found 'writer'"),
        ("sentence\tlabel\n", {}, "found no rows"),
        ("", {}, "found no rows"),
        (b"sentence\tlabel\ncaf\xe9\t1\n", {}, "not a readable table .*needs UTF-8"),
        ('sentence,label\n"good,1\n', {"name": "t.csv"}, "data.path: .*t.csv, line 3: not a readable table"),
        ('sentence,label\n"good" film,1\n', {"name": "t.csv"}, "t.csv, line 3: not a readable table"),
        (rows(*GOOD), {"tokenizer": "unpadded"}, "data.tokenizer: .*no padding token, .*\"pad_token\": '<eos>'"),
        (rows(*GOOD), {"tokenizer": "empty"}, "data.tokenizer: .*empty: not a tokenizer"),
        (rows(*GOOD, "good"), {"task": "opt-causal"}, "data.text_column: .*line 11 has a text of 1 token "),
    ],
)  # fmt: skip
def test_what_is_missing_or_in_doubt_is_named_by_its_line(
    load: Load, text: str, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(ScenarioError, match=says) as caught:
        load(text, **settings)
    assert len(str(caught.value)) < 500


def test_rows_without_a_key_are_not_one_clients(load: Load) -> None:
    text = rows(*GOOD, label=lambda i: f"{i % 2}\t{'' if i % 4 else 'r1'}", head="sentence\tlabel\treviewer")
    with pytest.raises(ScenarioError, match=r"data.key_column: .*line 3 has no 'reviewer' \(missing in 6 of 9 rows\)"):
        load(text, key_column="reviewer")


def test_keys_are_text(scenario_of: Callable[..., Any]) -> None:
    keys = ["1", "01", "NA", "1.0"]
    text = rows(*GOOD * 4, label=lambda i: f"{i % 2}\t{keys[i % 4]}", head="sentence\tlabel\tkey")
    scenario = scenario_of(text, key_column="key", partition={"scheme": "by-key", "key": "key"}, test_fraction=0.1)
    samples = load_dataset(scenario).train
    assert len(samples.keys_N.unique()) == 4
    owners = [set(samples.keys_N[index].tolist()) for index in partition(samples, scenario).values()]
    assert sum(map(len, owners)) == 4


def test_a_language_model_needs_a_label_only_where_it_deals_by_it(load: Load) -> None:
    text = "sentence\n" + "good bad film\n" * 12 + "\n\n"
    assert load(text, task="opt-causal").num_classes == 0
    with pytest.raises(ScenarioError, match=r"data.label_column: found 'label'; .* columns sentence$"):
        load(text, task="opt-causal", partition={"scheme": "dirichlet", "alpha": 1.0})
    with pytest.raises(ScenarioError, match=r"line 3 has no 'sentence'"):
        load("sentence\ngood film\n\ngood film\n", task="opt-causal")
    words = rows(*["good film"] * 12, label=lambda index: ["tragedy", "comedy"][index % 2])
    by_label = {"scheme": "by-key", "key": "label"}
    assert len(load(words, task="opt-causal", partition=by_label).train.keys_N.unique()) == 2


@pytest.mark.parametrize(("pad_token_id", "found"), [(None, "this key is absent"), (7, "found 7")])
def test_a_decoder_that_classifies_pads_as_its_tokenizer_does(
    scenario_of: Callable[..., Any], pad_token_id: int | None, found: str
) -> None:
    scenario = scenario_of(rows(*GOOD), task="llama-classes")
    assert load_dataset(scenario).num_classes == 2
    config = scenario.model.config | {"pad_token_id": pad_token_id}
    other = scenario.model_copy(update={"model": scenario.model.model_copy(update={"config": config})})
    with pytest.raises(ScenarioError, match=rf"model.config.pad_token_id: {found}, .* state pad_token_id: 0"):
        load_dataset(other)


def test_a_tokenizer_that_is_absent_says_so(scenario_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    scenario = scenario_of(rows(*GOOD))
    data = scenario.data.model_copy(update={"tokenizer": "./no-tokenizer"})
    with pytest.raises(ScenarioError, match=r"data.tokenizer: './no-tokenizer' is no local tokenizer folder"):
        load_dataset(scenario.model_copy(update={"data": data}))
