"""Networks of timm by name, which transformers wraps: a configuration names one, and no weights are fetched for it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.shown import shown
from hybridsplit.scenarios.user_code import how_to_install

TIMM = "timm_wrapper"
"""The ``model_type`` by which transformers knows them."""
_COLOUR = 3


def check_timm_name(stated: Mapping[str, Any]) -> None:
    """Refuse a name that timm does not have, and any where timm is missing.

    Parameters
    ----------
    stated
        Keys and values of a configuration of this type.

    Raises
    ------
    ScenarioError
        With the nearest name, or how to install timm.
    """
    try:
        timm = import_module("timm")
    except ModuleNotFoundError as error:
        raise ScenarioError(
            f"model.config.model_type: {TIMM!r} needs the package timm: {how_to_install('timm')}"
        ) from error
    name = stated.get("architecture")
    known = timm.list_models()
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
        found = "is needed" if name is None else f"found {shown(name)}, which timm {timm.__version__} does not have"
        raise ScenarioError(
            f"model.config.architecture: {found}; needs one of the {len(known):,} names of timm.list_models()"
            + (f", such as {', '.join(near)}" if near else "")
        )


def timm_channels(config: Any) -> int | None:
    """Return the channels of the images that a network of timm takes; None for other models.

    Parameters
    ----------
    config
        A transformers configuration.
    """
    if config.model_type != TIMM:
        return None
    return int((getattr(config, "model_args", None) or {}).get("in_chans", _COLOUR))
