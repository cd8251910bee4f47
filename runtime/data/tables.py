"""Sentences from a table, all of which is read as text: ``null``, ``NA`` and ``007`` stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from hybridsplit.runtime.data.sources import Samples, keyed_by
from hybridsplit.runtime.data.table_files import codes, read_tables, table_targets
from hybridsplit.runtime.models.configuration import classifies_before_padding, model_config
from hybridsplit.runtime.models.facts import vocabulary_read
from hybridsplit.runtime.models.stated import check_tokenizer
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Dirichlet, Iid, Scenario, TextTable
from hybridsplit.scenarios.shown import shown


def load_text_table(data: TextTable, scenario: Scenario) -> tuple[Samples, int, int | None]:
    """Return the tokenized sentences of a table, and the number of classes: 0 for a language model.

    That needs a label column only where samples are dealt by it.

    Raises
    ------
    ScenarioError
        If the table cannot be read, lacks a column or a value that the scenario needs, or has tokens that the model
        does not know; the message names the line.
    """
    table = read_tables(data.path, data.test_path)
    is_language_model = scenario.model.task == "causal-lm"
    texts = table.complete_column(data.text_column, "text_column")
    keys = None if data.key_column is None else table.complete_column(data.key_column, "key_column")
    targets, labels = None, None
    if not is_language_model:
        targets = table_targets(data, table, scenario.model.problem_type)
    elif keys is None and _deals_by_label(scenario):
        labels = table.complete_column(data.label_column, "label_column")
    input_ids, mask_NS = tokenize(data.tokenizer, texts, scenario)
    check_tokens(input_ids, mask_NS, f"data.text_column: {table.path}", table.place, scenario)
    if targets is None:
        codes_N = codes(keys if keys is not None else labels if labels is not None else texts)
        return Samples(input_ids, input_ids.masked_fill(~mask_NS, -100), mask_NS, codes_N), 0, table.num_test
    codes_N = keyed_by(targets.labels) if keys is None else codes(keys)
    samples = Samples(input_ids, targets.labels, mask_NS, codes_N, targets.names)
    return samples, targets.num_outputs, table.num_test


def _deals_by_label(scenario: Scenario) -> bool:
    scheme = scenario.data.partition
    return isinstance(scheme, Dirichlet) or (not isinstance(scheme, Iid) and scheme.key == "label")


def tokenize(where: str, texts: list[str], scenario: Scenario) -> tuple[Tensor, Tensor]:
    """Return [N, S] token ids and their mask.

    Parameters
    ----------
    where
        A local folder or hub name of the tokenizer.
    texts
        [N] texts.
    scenario
        Gives the model, and the length S.

    Raises
    ------
    ScenarioError
        If there is no such tokenizer, or it does not pad as the model needs it.
    """
    from transformers import AutoTokenizer

    try:
        trusts_code = scenario.model.trust_remote_code and where == scenario.model.checkpoint
        if not trusts_code:
            check_tokenizer(where)
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=trusts_code)
    except ScenarioError:
        raise
    except Exception as error:  # OSError, hub and network errors of several packages
        if Path(where).is_dir():
            raise ScenarioError(
                f"data.tokenizer: {where}: not a tokenizer that transformers can load "
                f"({shown(str(error), 200)}); needs a folder with tokenizer.json or a vocabulary"
            ) from error
        raise ScenarioError(
            f"data.tokenizer: {shown(where)} is no local tokenizer folder and could not be fetched from the "
            "hub; give a local folder or go online"
        ) from error
    if tokenizer.pad_token_id is None:
        raise ScenarioError(
            f"data.tokenizer: {where} has no padding token, which texts of different length need; state one, "
            f'for example "pad_token": {tokenizer.eos_token or "<pad>"!r} in its tokenizer_config.json'
        )
    _check_padding(int(tokenizer.pad_token_id), scenario)
    encoded = tokenizer(
        texts, padding="max_length", truncation=True, max_length=scenario.training.sequence_length, return_tensors="pt"
    )
    return encoded["input_ids"], encoded["attention_mask"].bool()


def _check_padding(pad_token_id: int, scenario: Scenario) -> None:
    """Refuse a decoder that classifies by a text's last token but takes another token than this for padding."""
    if scenario.model.python is not None:
        return
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


def check_tokens(
    input_ids_NS: Tensor, mask_NS: Tensor, where: str, place_of: Callable[[int], str], scenario: Scenario
) -> None:
    """Refuse tokens that the model does not know, and texts that nothing can be learned from.

    Parameters
    ----------
    input_ids_NS, mask_NS
        As :func:`tokenize` gives them.
    where
        Key path and file of the texts, for messages.
    place_of
        Where the text at an index stands, for messages.
    scenario
        Gives the model.

    Raises
    ------
    ScenarioError
        If there is such a token or text.
    """
    vocabulary = vocabulary_read(scenario.model)
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
            f"{where}: {place_of(short[0])} has a text of {found} token{'s' * (found != 1)} "
            f"({len(short)} such rows); needs at least {needed}, for {why}: remove these rows or join them with others"
        )
