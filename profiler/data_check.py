"""What is wrong with a scenario's data, known before anything is planned.

Data that were found right are not loaded again: their number of samples is kept beside the profile, under its key, a
hash of their files and all that reads them.
"""

from __future__ import annotations

import contextlib
import json
import warnings

from hybridsplit.profiler.profiles import OnProgress
from hybridsplit.runtime.data.dealing import check_number
from hybridsplit.scenarios.cache_folder import cache_folder
from hybridsplit.scenarios.contracts.files import write_text_whole
from hybridsplit.scenarios.errors import InputWarning, ScenarioError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.scores import SINGLE_LABEL


def check_data(scenario: Scenario, key: str | None, on_progress: OnProgress = lambda what, share: None) -> None:
    """Refuse what training would refuse of the data and of recorded links.

    Clients that would get less than a batch are a warning: such a plan can be replayed, though not trained by. So are
    classes that the test data alone have, and labels that do not begin at 0.

    Parameters
    ----------
    scenario
        The scenario.
    key
        Key of its profile; None where the files that it depends on cannot be pinned down.
    on_progress
        Called where data have to be loaded.

    Raises
    ------
    ScenarioError
        If a file is not what the scenario says it is, with the message that training would give.
    """
    if any(group.link.trace for group in scenario.clients):
        from hybridsplit.runtime.replay.trace_files import scenario_traces

        scenario_traces(scenario)
    if any(group.memory_trace for group in scenario.clients):
        from hybridsplit.runtime.replay.memory_files import scenario_memory

        scenario_memory(scenario)
    num_samples = None if key is None else _kept(key)
    if num_samples is None:
        on_progress("loading PyTorch, and checking the data", 0.0)
        from hybridsplit.runtime.data.labels import class_doubts  # late: PyTorch, which a number saves
        from hybridsplit.runtime.data.sources import load_dataset, model_blocks

        dataset = load_dataset(scenario)
        num_samples = len(dataset.train)
        if scenario.model.problem_type == SINGLE_LABEL and scenario.model.task != "causal-lm":
            for doubt in class_doubts(dataset.train.labels, dataset.test.labels, dataset.train.label_names):
                warnings.warn(doubt, InputWarning, stacklevel=2)
        if scenario.model.blocks is not None:
            model_blocks(scenario, dataset=dataset)  # whether they compute what the model does shows in values only
        if key is not None:
            _keep(key, num_samples)
    try:
        check_number(scenario, num_samples)
    except ScenarioError as error:
        warnings.warn(f"{error} (this plan can be replayed, but run will refuse it)", InputWarning, stacklevel=2)


def _kept(key: str) -> int | None:
    """Return the number of training samples that was kept; None where there is none, or the file is damaged."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        document = json.loads((folder / "data" / f"{key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    number = document.get("num_train_samples") if isinstance(document, dict) and document.get("key") == key else None
    return number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else None


def _keep(key: str, num_samples: int) -> None:
    """Keep a number; a cache that cannot be written to costs time, not the plan."""
    folder = cache_folder()
    if folder is None:
        return
    with contextlib.suppress(OSError):
        (folder / "data").mkdir(parents=True, exist_ok=True)
        write_text_whole(folder / "data" / f"{key}.json", json.dumps({"key": key, "num_train_samples": num_samples}))
