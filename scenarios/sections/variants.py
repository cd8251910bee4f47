"""Models that may take the place of a scenario's own, for ``hybridsplit search``."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from hybridsplit.scenarios.sections.base import Identifier, Section

MOST_MODELS = 500
"""Models that the variants of a scenario may stand for; each is profiled and planned."""

_Multiplier = Annotated[float, Field(gt=0, le=16)]


def _listed(value: Any) -> Any:
    """Return a single number as the only one, and a list as the strict schema takes it."""
    if isinstance(value, list):
        return tuple(value)
    return (value,) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


Multipliers = Annotated[
    tuple[_Multiplier, ...],
    BeforeValidator(_listed, json_schema_input_type=_Multiplier | list[_Multiplier]),
    Field(min_length=1),
]


class Variant(Section):
    """A model in place of the scenario's, or several: where a key has a list of choices, one for every combination."""

    variant: Identifier
    """Its name; a combination's name is this one and what was chosen, such as ``grid-width-0.5-depth-1``."""
    depth: Multipliers = (1.0,)
    """Factors of the number of layers that ``model.config`` states, or of every stage: at least one layer is left."""
    width: Multipliers = (1.0,)
    """Factors of the hidden sizes that ``model.config`` states, rounded to a multiple of twice the attention heads,
    or of 4 where there are none."""
    kernel: Multipliers = (1.0,)
    """Factors of the kernel sizes that ``model.config`` states, rounded to odd numbers."""
    config: Annotated[dict[str, Any], Field(default_factory=dict)]
    """Keys of ``model.config`` by value; factors apply to what they state."""
    arguments: Annotated[dict[str, Any], Field(default_factory=dict)]
    """Keys of ``model.arguments`` by value, for a model of your own."""
    choices: Annotated[dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]], Field(default_factory=dict)]
    """Keys of ``model.config``, or of ``model.arguments`` for a model of your own, with the values to choose from."""
    checkpoint: str | None = None
    """Another checkpoint in place of ``model.checkpoint``."""
    accuracy: Annotated[float, Field(gt=0, le=1)] | None = None
    """Test accuracy of the trained model, where it is known; for single classes."""
    accuracy_is: Literal["measured", "stated"] | None = None
    """Whether ``accuracy`` was measured on this task, or is what somebody else states."""
    test_score: Annotated[float, Field(le=1)] | None = None
    """Macro F1 or R² of the test data in place of ``accuracy``, for another ``model.problem_type``."""
    test_score_is: Literal["measured", "stated"] | None = None
    """Whether ``test_score`` was measured on this task, or is what somebody else states."""

    @property
    def num_models(self) -> int:
        """Models that it stands for."""
        number = len(self.depth) * len(self.width) * len(self.kernel)
        for values in self.choices.values():
            number *= len(values)
        return number

    @property
    def scales(self) -> bool:
        """Whether some factor is not 1."""
        return any(factor != 1 for factor in (*self.depth, *self.width, *self.kernel))

    @model_validator(mode="after")
    def _figures_are_of_one_model(self) -> Self:
        for key, how in (("accuracy", "accuracy_is"), ("test_score", "test_score_is")):
            has_figure, is_known = getattr(self, key) is not None, getattr(self, how) is not None
            if has_figure != is_known:
                there, missing = (key, how) if has_figure else (how, key)
                raise ValueError(
                    f"{missing}: found {there} alone; needs both: how good the model is, and how that is known "
                    "(measured or stated)"
                )
            if has_figure and self.num_models > 1:
                raise ValueError(
                    f"{key}: found one figure for {self.num_models} models; list the models whose {key} is known one "
                    "by one"
                )
        for key in self.choices:
            if key in self.config or key in self.arguments:
                raise ValueError(f"choices.{key}: is fixed by value beside it; remove one of the two")
        return self
