"""The models that the variants of a scenario stand for, by name, and whether the scenario's own model allows them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hybridsplit.scenarios.scores import ACCURACY, score_for

if TYPE_CHECKING:
    from hybridsplit.scenarios.sections.model import Model
    from hybridsplit.scenarios.sections.variants import Variant

_FACTORS = ("depth", "width", "kernel")
_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,24}", re.ASCII)


@dataclass(frozen=True)
class NamedModel:
    """One model.

    Parameters
    ----------
    name
        What it is called.
    depth, width, kernel
        Factors of what the configuration states.
    config, arguments
        Keys of the model's configuration, and arguments of a model of the user's own, by value.
    checkpoint
        Another checkpoint; None for the scenario's.
    test_score, test_score_is
        How good it is when trained, by the score of its problem type, and how that is known; None where it is not.
    """

    name: str
    depth: float
    width: float
    kernel: float
    config: Mapping[str, Any]
    arguments: Mapping[str, Any]
    checkpoint: str | None
    test_score: float | None
    test_score_is: str | None


def named_models(model: Model, variants: Sequence[Variant]) -> tuple[NamedModel, ...]:
    """Return the models that variants stand for, in order.

    Parameters
    ----------
    model
        The scenario's own model, which they change.
    variants
        The variants.
    """
    return tuple(named for variant in variants for named in _of(model, variant))


def variant_problems(model: Model, variants: Sequence[Variant], most: int) -> Iterator[str]:
    """Yield what is wrong with variants of a model, each under its key path.

    Parameters
    ----------
    model
        The scenario's own model.
    variants
        The variants.
    most
        Models that they may stand for together.
    """
    number = sum(variant.num_models for variant in variants)
    if number > most:
        yield f"variants: found {number:,} models; needs at most {most}: offer fewer choices at a time"
        return
    places: dict[str, int] = {}
    for place, variant in enumerate(variants):
        where = f"variants.{place}"
        yield from (f"{where}.{problem}" for problem in (*_unfit(model, variant), *_unfit_scores(model, variant)))
        for named in _of(model, variant):
            if named.name in places:
                yield (
                    f"{where}.variant: found a second model called {named.name!r} (the first is of "
                    f"variants.{places[named.name]}); needs names that differ"
                )
                break
            if len(named.name) > 64:
                yield (
                    f"{where}.variant: its models get names of more than 64 characters, such as {named.name[:64]!r}; "
                    "needs a shorter name, or fewer choices"
                )
                break
            places[named.name] = place


def _unfit(model: Model, variant: Variant) -> Iterator[str]:
    """Yield what a variant changes that its model does not have."""
    origin = "config" if model.config is not None else "python" if model.python is not None else "checkpoint"
    changes = {
        "config": bool(variant.config) or variant.scales,
        "python": bool(variant.arguments),
        "checkpoint": variant.checkpoint is not None,
    }
    keys = {"config": "config, depth, width and kernel", "python": "arguments", "checkpoint": "checkpoint"}
    for other, is_changed in changes.items():
        if is_changed and other != origin:
            yield (
                f"variant: {variant.variant!r} changes what a model by '{other}' has, and model is stated by "
                f"'{origin}'; needs {keys[origin]}"
            )
    if variant.choices and origin == "checkpoint":
        yield f"choices: {variant.variant!r} chooses among values of a configuration, and model is a checkpoint"


def _unfit_scores(model: Model, variant: Variant) -> Iterator[str]:
    """Yield what a variant states of a score that its model is not judged by."""
    score = score_for(model.problem_type)
    wrong, right = ("test_score", "accuracy") if score is ACCURACY else ("accuracy", "test_score")
    if getattr(variant, wrong) is not None:
        yield (
            f"{wrong}: model.problem_type is {model.problem_type!r}, whose score is {score.label}; state {right} and "
            f"{right}_is instead"
        )
    elif score.is_fraction and variant.test_score is not None and variant.test_score < 0:
        yield f"test_score: found {variant.test_score:g}; {score.label} is from 0 to 1"


def _of(model: Model, variant: Variant) -> Iterator[NamedModel]:
    by_arguments = model.python is not None
    factors = [getattr(variant, name) for name in _FACTORS]
    for chosen in itertools.product(*factors, *(range(len(values)) for values in variant.choices.values())):
        depth, width, kernel, *places = chosen
        parts = [
            f"{name}-{factor:g}"
            for name, factor, offered in zip(_FACTORS, (depth, width, kernel), factors, strict=True)
            if len(offered) > 1
        ]
        by_choice: dict[str, Any] = {}
        for (key, values), place in zip(variant.choices.items(), places, strict=True):
            by_choice[key] = values[place]
            text = str(values[place])
            parts.append(f"{key}-{text if _PLAIN.fullmatch(text) else place + 1}")
        yield NamedModel(
            "-".join([variant.variant, *parts]),
            depth=depth,
            width=width,
            kernel=kernel,
            config={**variant.config, **({} if by_arguments else by_choice)},
            arguments={**variant.arguments, **(by_choice if by_arguments else {})},
            checkpoint=variant.checkpoint,
            test_score=variant.test_score if variant.accuracy is None else variant.accuracy,
            test_score_is=variant.test_score_is if variant.accuracy is None else variant.accuracy_is,
        )
