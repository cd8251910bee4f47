"""What a model is judged by, gathered batch by batch over the test data."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from hybridsplit.scenarios.scores import MULTI_LABEL, REGRESSION

_LEAST_R2 = torch.finfo(torch.float32).min


class Gathered(Protocol):
    """A score while batches are added to it."""

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: logits and labels as :func:`hybridsplit.runtime.split.parts.task_loss` takes them."""

    def value(self) -> float:
        """Return the score of all batches."""


class Accuracy:
    """Share of right classes, or of right next tokens.

    Parameters
    ----------
    is_language
        Whether labels are tokens, each predicted from those before it.
    """

    def __init__(self, *, is_language: bool) -> None:
        self._is_language = is_language
        self._right = self._total = 0

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: [B, K] and [B], or [B, S, V] and [B, S] with -100 for padding."""
        guess = logits.argmax(-1)
        if self._is_language:
            guess, labels = guess[:, :-1], labels[:, 1:]
        counted = labels != -100
        self._right += int((guess.eq(labels) & counted).sum())
        self._total += int(counted.sum())

    def value(self) -> float:
        """Return the share, in [0, 1]."""
        return self._right / max(self._total, 1)


class R2:
    """Coefficient of determination, the mean over numbers to predict: 1 - squared error / squared deviation."""

    def __init__(self) -> None:
        self._guesses: list[Tensor] = []
        self._truths: list[Tensor] = []

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: predictions and numbers [B, K]."""
        self._guesses.append(logits.double())
        self._truths.append(labels.double())

    def value(self) -> float:
        """Return the score, at most 1; the least number of single precision where it is below, or predictions overflow.

        Sums and squares of such numbers over seeds are finite in double precision.
        """
        guess_NK, truth_NK = torch.cat(self._guesses), torch.cat(self._truths)
        error_K = (guess_NK - truth_NK).square().sum(0)
        deviation_K = (truth_NK - truth_NK.mean(0)).square().sum(0)
        found = float((1.0 - error_K / deviation_K).mean())
        return max(found, _LEAST_R2) if math.isfinite(found) else _LEAST_R2


class MacroF1:
    """Mean over labels of the harmonic mean of precision and recall, a label being predicted from a logit of 0 on.

    Labels that the test data do not have, and that were never predicted, are left out of the mean.
    """

    def __init__(self) -> None:
        self._counts: list[Tensor] = []

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: logits [B, K], and labels [B, K] of 0 and 1."""
        guess, truth = logits > 0, labels > 0.5
        self._counts.append(torch.stack([(guess & truth).sum(0), guess.sum(0), truth.sum(0)]))

    def value(self) -> float:
        """Return the score, in [0, 1]."""
        both_K, guessed_K, true_K = torch.stack(self._counts).sum(0).double()
        occurs_K = guessed_K + true_K > 0
        if not occurs_K.any():
            return 0.0
        return float((2.0 * both_K / (guessed_K + true_K))[occurs_K].mean())


def gathered(loss_kind: str) -> Gathered:
    """Return the score of a scenario's ``model.loss_kind``, of no batch yet.

    Parameters
    ----------
    loss_kind
        What the loss is chosen by.
    """
    if loss_kind == REGRESSION:
        return R2()
    return MacroF1() if loss_kind == MULTI_LABEL else Accuracy(is_language=loss_kind == "causal-lm")
