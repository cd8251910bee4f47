"""Sentences from a CSV or TSV file, all of which is read as text: ``null``, ``NA`` and ``007`` stay as they are."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hybridsplit.runtime.data.labels import class_labels
from hybridsplit.runtime.data.sources import Samples
from hybridsplit.runtime.models.configuration import classifies_before_padding, model_config, vocabulary_of
from hybridsplit.runtime.models.stated import check_tokenizer
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Dirichlet, Iid, Scenario, TextTable
from hybridsplit.scenarios.shown import shown


@dataclass(frozen=True)
class _Table:
    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    """Line of the file that each row ends at."""

    def column(self, name: str, key: str) -> list[str]:
        """Return a column's text, one a row."""
        if name not in self.columns:
            raise ScenarioError(
                f"data.{key}: found {shown(name)}; {self.path} has the columns "
                + shown(", ".join(self.columns), 200).strip("'")
            )
        if self.columns.count(name) > 1:
            raise ScenarioError(
                f"data.{key}: {self.path} has {self.columns.count(name)} columns {shown(name)}; needs one"
            )
        position = self.columns.index(name)
        return [row[position] for row in self.rows]

    def complete_column(self, name: str, key: str) -> list[str]:
        """Return a column that may not have missing values."""
        values = self.column(name, key)
        missing = [index for index, value in enumerate(values) if not value.strip()]
        if missing:
            raise ScenarioError(
                f"data.{key}: {self.path}: {self.place(missing[0])} has no {shown(name)} (missing in {len(missing)} of "
                f"{len(values)} rows); needs one in every row: fill it in or remove these rows"
            )
        return values

    def place(self, index: int) -> str:
        """Return where a row stands."""
        return f"line {self.lines[index]}"


def load_text_table(data: TextTable, scenario: Scenario) -> tuple[Samples, int]:
    """Return the tokenized sentences of a table, and the number of classes: 0 for a language model.

    That needs a label column only where samples are dealt by it.

    Raises
    ------
    ScenarioError
        If the table cannot be read, lacks a column or a value that the scenario needs, or has tokens that the model
        does not know; the message names the line.
    """
    table = _read(Path(data.path))
    is_language_model = scenario.model.task == "causal-lm"
    texts = table.complete_column(data.text_column, "text_column")
    keys = None if data.key_column is None else table.complete_column(data.key_column, "key_column")
    labels = None if is_language_model else table.complete_column(data.label_column, "label_column")
    classes, num_classes = (None, 0)
    if labels is not None:
        classes, num_classes = class_labels(labels, f"data.label_column: {table.path}", table.place)
    elif keys is None and _deals_by_label(scenario):
        labels = table.complete_column(data.label_column, "label_column")
    input_ids, mask_NS = _tokenize(data, texts, scenario)
    _check_tokens(input_ids, mask_NS, table, scenario)
    codes_N = _codes(keys if keys is not None else labels if labels is not None else texts)
    if classes is None:
        classes = input_ids.masked_fill(~mask_NS, -100)
    return Samples(input_ids, classes, mask_NS, codes_N), num_classes


def _deals_by_label(scenario: Scenario) -> bool:
    scheme = scenario.data.partition
    return isinstance(scheme, Dirichlet) or (not isinstance(scheme, Iid) and scheme.key == "label")


def _codes(values: Sequence[str]) -> Tensor:
    """Return [N] integers, equal where the text is: 0 for the first text, and so on."""
    code_of: dict[str, int] = {}
    return torch.tensor([code_of.setdefault(value, len(code_of)) for value in values], dtype=torch.long)


def _read(path: Path) -> _Table:
    """Read a table strictly: a ``.tsv`` is split at tabs, and quotes are text; all else at commas, quoted as CSV is."""
    is_tsv = path.suffix.lower() == ".tsv"
    separator = "tabs" if is_tsv else "commas"
    rows: list[tuple[str, ...]] = []
    lines: list[int] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            options: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if is_tsv else {"strict": True}
            reader = csv.reader(file, **options)
            columns = tuple(next(reader, ()))
            for row in reader:
                if not row and len(columns) > 1:
                    continue
                rows.append(tuple(row) or ("",))
                lines.append(reader.line_num)
                if len(rows[-1]) != len(columns):
                    raise ScenarioError(
                        f"data.path: {path}: line {reader.line_num} has {len(row)} values, the header has "
                        f"{len(columns)}; needs as many, with {separator} between them"
                        + (
                            " (quotes are text in a .tsv file)"
                            if is_tsv
                            else " (put text with commas in double quotes)"
                        )
                    )
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        at = f", line {reader.line_num + 1}" if isinstance(error, csv.Error) else ""
        raise ScenarioError(
            f"data.path: {path}{at}: not a readable table ({error}); needs UTF-8 text with a line of column names and "
            f"{separator} between values"
        ) from error
    while len(columns) == 1 and rows and not rows[-1][0].strip():  # lines without text at the end of the file
        del rows[-1], lines[-1]
    if not rows:
        raise ScenarioError(f"data.path: {path}: found no rows; needs a line of column names, and a row a sample")
    return _Table(path, columns, tuple(rows), tuple(lines))


def _tokenize(data: TextTable, texts: list[str], scenario: Scenario) -> tuple[Tensor, Tensor]:
    """Return [N, S] token ids and their mask."""
    from transformers import AutoTokenizer

    try:
        check_tokenizer(data.tokenizer)
        tokenizer = AutoTokenizer.from_pretrained(data.tokenizer, trust_remote_code=False)
    except ScenarioError:
        raise
    except Exception as error:  # OSError, hub and network errors of several packages
        if Path(data.tokenizer).is_dir():
            raise ScenarioError(
                f"data.tokenizer: {data.tokenizer}: not a tokenizer that transformers can load "
                f"({shown(str(error), 200)}); needs a folder with tokenizer.json or a vocabulary"
            ) from error
        raise ScenarioError(
            f"data.tokenizer: {shown(data.tokenizer)} is no local tokenizer folder and could not be fetched from the "
            "hub; give a local folder or go online"
        ) from error
    if tokenizer.pad_token_id is None:
        raise ScenarioError(
            f"data.tokenizer: {data.tokenizer} has no padding token, which texts of different length need; state one, "
            f'for example "pad_token": {tokenizer.eos_token or "<pad>"!r} in its tokenizer_config.json'
        )
    _check_padding(int(tokenizer.pad_token_id), scenario)
    encoded = tokenizer(
        texts, padding="max_length", truncation=True, max_length=scenario.training.sequence_length, return_tensors="pt"
    )
    return encoded["input_ids"], encoded["attention_mask"].bool()


def _check_padding(pad_token_id: int, scenario: Scenario) -> None:
    """Refuse a decoder that classifies by a text's last token but takes another token than this for padding."""
    whole = model_config(scenario.model)
    config = whole.get_text_config()
    stated = getattr(config, "pad_token_id", None)
    if scenario.model.task != "sequence-classification" or stated == pad_token_id:
        return
    if not classifies_before_padding(whole):
        return
    where = "model.config.pad_token_id" if scenario.model.checkpoint is None else "model.checkpoint: pad_token_id"
    found = "this key is absent" if stated is None else f"found {stated}"
    raise ScenarioError(
        f"{where}: {found}, and the tokenizer pads with {pad_token_id}; {config.model_type} classifies by the last "
        f"token before the padding: state pad_token_id: {pad_token_id}"
        + ("" if scenario.model.checkpoint is None else " in the checkpoint's config.json")
    )


def _check_tokens(input_ids_NS: Tensor, mask_NS: Tensor, table: _Table, scenario: Scenario) -> None:
    """Refuse tokens that the model does not know, and texts that nothing can be learned from."""
    vocabulary = vocabulary_of(model_config(scenario.model))
    largest = int(input_ids_NS.max())
    if vocabulary is not None and largest >= vocabulary:
        raise ScenarioError(
            f"data.tokenizer: gives token {largest}; the model knows {vocabulary}: use the model's own tokenizer"
        )
    is_language_model = scenario.model.task == "causal-lm"
    needed = 2 if is_language_model else 1
    short = torch.nonzero(mask_NS.sum(1) < needed).flatten().tolist()
    if short:
        found = int(mask_NS[short[0]].sum())
        why = (
            "a language model predicts each token from those before it"
            if is_language_model
            else "nothing is left of it"
        )
        raise ScenarioError(
            f"data.text_column: {table.path}: {table.place(short[0])} has a text of {found} token{'s' * (found != 1)} "
            f"({len(short)} such rows); needs at least {needed}, for {why}: remove these rows or join them with others"
        )
