"""Load a scenario by built-in name or path, apply ``--set`` overrides, and explain what is wrong with it."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.inference.task import is_inference
from hybridsplit.scenarios.overrides import override_all
from hybridsplit.scenarios.plain import check_plain
from hybridsplit.scenarios.relays.task import has_relays
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.shown import gist
from hybridsplit.scenarios.validation import validate_scenario
from hybridsplit.scenarios.yaml_text import UNREADABLE, problem_of, read_limited, strict_yaml

if TYPE_CHECKING:
    from hybridsplit.scenarios.inference.schema import InferenceScenario
    from hybridsplit.scenarios.relays.schema import RelayScenario

__all__ = [
    "all_builtin_names",
    "builtin_names",
    "builtin_text",
    "load_scenario",
    "load_task",
    "load_trained",
    "scenario_of_values",
    "trained_of_values",
    "validate_scenario",
]

_LIBRARY = Path(__file__).with_name("library")


_OTHER_TASKS = ("wearables", "factory", "rack")
"""Built-in scenarios of inference tasks, and of models that are cut several times over relays."""


def builtin_names() -> list[str]:
    """Names of the scenarios of training that ship with the package, from small to large."""
    order = ["quickstart", "smart-home", "campus", "city"]
    names = sorted(path.stem for path in _LIBRARY.glob("*.yaml") if path.stem not in _OTHER_TASKS)
    return sorted(
        (name for name in names if not name.startswith("_")), key=lambda n: (order.index(n) if n in order else 99, n)
    )


def all_builtin_names() -> list[str]:
    """Names of all scenarios that ship with the package: of training with one cut, then all others."""
    return [*builtin_names(), *_OTHER_TASKS]


def builtin_text(name: str) -> str:
    """Return the text of a built-in scenario, comments included."""
    return (_LIBRARY / f"{name}.yaml").read_text(encoding="utf-8")


def load_trained(name_or_path: str, overrides: Sequence[str] | Mapping[str, Any] = ()) -> Scenario | RelayScenario:
    """Load and check a scenario of a task that can be trained, over one cut or over relays.

    Parameters
    ----------
    name_or_path, overrides
        As for :func:`load_task`.

    Raises
    ------
    ScenarioError
        If there is no such scenario, anything in it is wrong, or it is one of an inference task.
    """
    return _trained(load_task(name_or_path, overrides), name_or_path[:200])


def _trained(task: Scenario | InferenceScenario | RelayScenario, origin: str) -> Scenario | RelayScenario:
    document = task.resolved()
    if not isinstance(task, Scenario) and not has_relays(document):
        raise _not_one_cut(document, origin)
    return cast("Scenario | RelayScenario", task)


def load_scenario(name_or_path: str, overrides: Sequence[str] | Mapping[str, Any] = ()) -> Scenario:
    """Load and check a scenario of training over one cut.

    Parameters
    ----------
    name_or_path, overrides
        As for :func:`load_task`.

    Raises
    ------
    ScenarioError
        If there is no such scenario, anything in it is wrong, or it is one of an inference task.
    """
    document, origin, folder = _document_of(name_or_path, overrides)
    # The kind of task first: what this command adds to a scenario says nothing to one of another kind.
    if is_inference(document, origin) or has_relays(document):
        raise _not_one_cut(document, name_or_path[:200])
    return validate_scenario(document, origin, folder)


def _not_one_cut(document: Mapping[str, Any], origin: str) -> ScenarioError:
    """Return what a command says that trains over one cut."""
    if has_relays(document):
        return ScenarioError(
            f"{origin}: network: this is about one cut; models that are cut several times are planned, trained, "
            "replayed, compared and reported (plan, run, replay, compare and report, as commands and in Python): state "
            "radio and server instead of network"
        )
    return ScenarioError(
        f"{origin}: task: found 'inference', where nothing is trained; use the commands plan, replay, compare and "
        "report"
    )


def load_task(
    name_or_path: str, overrides: Sequence[str] | Mapping[str, Any] = ()
) -> Scenario | InferenceScenario | RelayScenario:
    """Load and check a scenario of any kind of task.

    Parameters
    ----------
    name_or_path
        A built-in name (``quickstart``) or the path of a YAML file.
    overrides
        ``key.path=value`` items; the value is read as YAML. A list item is addressed by index, or a client group by
        its name: ``clients.pi4.memory_budget_bytes=2MiB``. Or values by key path, which are taken as they are.

    Raises
    ------
    ScenarioError
        If there is no such scenario or anything in it is wrong; the message names file, key path, what was found,
        what is needed and the nearest valid choice.
    """
    return _checked(*_document_of(name_or_path, overrides))


def _document_of(name_or_path: str, overrides: Sequence[str] | Mapping[str, Any]) -> tuple[dict[str, Any], str, Path]:
    """Return the values of a scenario, where they are from, and the folder that its file names start from."""
    origin, text, folder = _find(name_or_path)
    try:
        document = strict_yaml(text)
    except UNREADABLE as error:
        raise ScenarioError(
            f"{origin}{problem_of(error)}; needs a YAML mapping, as 'hybridsplit scenarios quickstart' prints one"
        ) from error
    if not isinstance(document, dict):
        raise ScenarioError(
            f"{origin}: found {type(document).__name__}; needs a YAML mapping of keys such as model and clients"
        )
    if isinstance(document.get("scenario"), dict) and {"strategy", "clients", "digest"} <= set(document):
        raise ScenarioError(
            f"{origin}: found a plan, which holds its scenario under 'scenario'; needs a scenario: give the file it "
            "was planned from, or use the plan with 'hybridsplit replay' or 'run SCENARIO --plan'"
        )
    override_all(document, overrides)
    return document, origin, folder


def task_of_values(
    values: Mapping[str, Any], overrides: Mapping[str, Any], folder: Path | None = None
) -> Scenario | InferenceScenario | RelayScenario:
    """Check a scenario of any kind of task given as values.

    Parameters
    ----------
    values
        The document.
    overrides
        Values by key path that replace or add to those of the document, which is left as it is.
    folder
        Folder that relative file names start from; the current one when None.

    Raises
    ------
    ScenarioError
        If anything is wrong.
    """
    check_plain(values, "the scenario")
    document = copy.deepcopy(dict(values))
    override_all(document, overrides)
    return _checked(document, "the scenario", folder or Path.cwd())


def _checked(
    document: dict[str, Any], origin: str, folder: Path | None
) -> Scenario | InferenceScenario | RelayScenario:
    if is_inference(document, origin):
        from hybridsplit.scenarios.inference.loading import validate_inference  # late: training needs nothing of it

        return validate_inference(document, origin, folder)
    if has_relays(document):
        from hybridsplit.scenarios.relays.loading import validate_relays  # late, as above

        return validate_relays(document, origin, folder)
    return validate_scenario(document, origin, folder)


def scenario_of_values(values: Mapping[str, Any], overrides: Mapping[str, Any], folder: Path | None = None) -> Scenario:
    """Check a scenario of training given as values.

    Parameters
    ----------
    values
        The document.
    overrides
        Values by key path that replace or add to those of the document, which is left as it is.
    folder
        Folder that relative file names start from; the current one when None.

    Raises
    ------
    ScenarioError
        If anything is wrong.
    """
    task = task_of_values(values, overrides, folder)
    if not isinstance(task, Scenario):
        raise _not_one_cut(values, "the scenario")
    return task


def trained_of_values(
    values: Mapping[str, Any], overrides: Mapping[str, Any], folder: Path | None = None
) -> Scenario | RelayScenario:
    """Check a scenario of a task that can be trained, over one cut or over relays, given as values.

    Parameters
    ----------
    values, overrides, folder
        As for :func:`scenario_of_values`.

    Raises
    ------
    ScenarioError
        If anything is wrong, or it is one of an inference task.
    """
    return _trained(task_of_values(values, overrides, folder), "the scenario")


def _find(name_or_path: str) -> tuple[str, str, Path]:
    if name_or_path in all_builtin_names():
        return f"built-in {name_or_path}", builtin_text(name_or_path), Path.cwd()
    path = Path(name_or_path)
    try:
        if path.is_file():
            return str(path), read_limited(path), path.resolve().parent
    except (OSError, ValueError) as error:
        raise ScenarioError(
            f"{name_or_path[:200]}: cannot be read as UTF-8 text ({gist(error)}); needs a YAML file"
        ) from error
    near = difflib.get_close_matches(name_or_path, all_builtin_names(), n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ScenarioError(
        f"{name_or_path[:200]}: no such scenario; needs a YAML file, or one of the built-in names "
        f"{', '.join(all_builtin_names())}{hint}"
    )
