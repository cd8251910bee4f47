"""Whose token ids the server needs to replay an estimated step."""

from __future__ import annotations

from torch import nn

from hybridsplit.runtime.split.parts import Part
from hybridsplit.scenarios.modes import MODES, is_estimated


def needs_row_ids(part: Part, mode: str, *, labels_name_rows: bool) -> bool:
    """Whether a zeroth-order client must send its token ids, so that the server can replay the update of an embedding.

    Parameters
    ----------
    part, mode
        The client part and its mode.
    labels_name_rows
        True where the labels of a causal language model cross in every step: they name the touched rows already.
    """
    if not is_estimated(mode) or (labels_name_rows and not MODES[mode].has_local_head):
        return False
    return any(m.weight.requires_grad for m in part.modules() if isinstance(m, nn.Embedding))
