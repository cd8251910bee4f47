"""A short sweep over model types, as ``python -m benchmarks.model_sweep`` does it for all."""

from __future__ import annotations

import pytest

from benchmarks.model_sweep import WORKS, tried


@pytest.mark.parametrize(
    ("task", "model_type", "variant"),
    [
        ("causal-lm", "mixtral", "bfloat16"),
        ("causal-lm", "xlnet", "float32, padded"),
        ("causal-lm", "bert", "float32"),
        ("sequence-classification", "xlm-roberta", "bfloat16, padded"),
        ("sequence-classification", "gpt_neox", "float32"),
        ("image-classification", "clip", "bfloat16"),
    ],
)
def test_blocks_are_the_model_and_the_predicted_peak_is_measured(task: str, model_type: str, variant: str) -> None:
    outcome, why = tried(task, model_type, variant)
    assert outcome == WORKS, why
