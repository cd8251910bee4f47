"""What memory a client has for training over time."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from hybridsplit.scenarios.sections.base import Section
from hybridsplit.scenarios.sections.traces import PastTheEnd


class MemoryOverTime(Section):
    """Memory that training may use, by a recording; ``memory_budget_bytes`` caps it."""

    path: Annotated[str, Field(min_length=1)]
    """The recording, relative to the scenario file: a JSON list of objects with ``duration_s`` and ``budget_bytes``,
    lines of seconds and MiB, or a CSV with a header such as ``time_s,available_mib``."""
    below_floor: Literal["wait", "skip"] = "wait"
    """Where even the leanest level does not fit: ``wait`` pauses the client until it does, which trains the same bits
    later; ``skip`` leaves it out of the round."""
    past_the_end: PastTheEnd = "loop"
    """After the last sample: ``loop`` begins again, ``hold`` keeps its memory, ``fail`` stops the replay."""


def _kind(value: object) -> str:
    return "memory-file" if isinstance(value, str) else "memory-section"


MemoryTrace = Annotated[
    Annotated[str, Tag("memory-file")] | Annotated[MemoryOverTime, Tag("memory-section")], Discriminator(_kind)
]
"""A path alone is a recording with every key at its default."""


def memory_over_time(trace: str | MemoryOverTime) -> MemoryOverTime:
    """Return the section that a path alone stands for, or the section itself.

    Parameters
    ----------
    trace
        Value of ``memory_trace``.
    """
    return MemoryOverTime(path=trace) if isinstance(trace, str) else trace
