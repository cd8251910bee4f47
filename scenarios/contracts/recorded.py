"""How a plan was chosen for recorded links: by a statistic of rounds over windows of the recordings."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

from pydantic import Field

from hybridsplit.scenarios.contracts.placement import FrozenValue
from hybridsplit.scenarios.sections.objective import Statistic


class RecordedChoice(FrozenValue):
    """What a choice among several plans was made by, and what it is worth on windows that it was not made by.

    All seconds are those of the plan's objective, whose round latency is replayed. The windows the choice is made by
    begin in every other tenth of every recording, those it is judged by in the rest.
    """

    statistic: Statistic
    """What was made small."""
    windows: int = Field(ge=1)
    """Rounds the choice was made by; as many judge it."""
    candidates: int = Field(ge=1)
    """Plans that were compared."""
    chosen: str
    """How the chosen one came about, in words."""
    in_sample_s: float = Field(ge=0)
    """The statistic over the rounds that it was chosen by: it flatters the choice."""
    out_of_sample_s: float = Field(ge=0)
    """The statistic over the rounds that judge it."""
    nominal_s: float = Field(ge=0)
    """The same, over the rounds that judge, of the best plan for constant links."""
    out_of_sample_p50_s: float = Field(ge=0)
    """Median over the rounds that judge it."""
    out_of_sample_p95_s: float = Field(ge=0)
    """95th percentile over them."""
