"""Where a table's labels stand: in one column, in several, or several in one."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from hybridsplit.scenarios.scores import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hybridsplit.scenarios.sections.base import Section

ANY_LABELS = (SINGLE_LABEL, MULTI_LABEL, REGRESSION)
"""Values of ``model.problem_type``."""
_COLUMN = "label"


class LabelColumns(Section):
    """The columns of labels of a table."""

    problem_types: ClassVar[tuple[str, ...]] = ANY_LABELS
    label_column: str = _COLUMN
    """Column that holds a label: 0, 1, 2, ..., or names, which are numbered in sorted order; a number for regression;
    for several labels at once names with ``label_separator`` between them, or a list (in text files as JSON, such as
    ``["a", "b"]``) of names or of 0 and 1. A language model needs none, unless samples are dealt by it."""
    label_columns: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Several columns instead: a number to predict in each, or 0 and 1 for each of several labels."""
    label_separator: Annotated[str, Field(min_length=1)] | None = None
    """What stands between the names of a sample's labels, as ``|`` in ``cat|dog``; an empty value has none."""

    @property
    def columns_of_labels(self) -> tuple[str, ...]:
        """The columns that labels are in."""
        return (self.label_column,) if self.label_columns is None else self.label_columns

    @model_validator(mode="after")
    def _labels_stand_in_one_way(self) -> Self:
        several = self.label_columns
        if several is None:
            return self
        if self.label_column != _COLUMN:
            raise ValueError("label_column and label_columns: found both; needs one of them: remove the other key")
        if self.label_separator is not None:
            raise ValueError("label_separator: is for several labels in one column; remove it, or label_columns")
        if twice := sorted({name for name in several if several.count(name) > 1}):
            raise ValueError(f"label_columns: lists {', '.join(twice)} twice; state each column once")
        return self
