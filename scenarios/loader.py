"""Load a scenario by built-in name or path, apply ``--set`` overrides, and explain what is wrong with it."""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from hybridsplit.scenarios.device_changes import with_catalogue_figures
from hybridsplit.scenarios.device_files import located, with_device_files
from hybridsplit.scenarios.devices import find_device
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.inference.task import is_inference
from hybridsplit.scenarios.messages import explain
from hybridsplit.scenarios.overrides import override_all
from hybridsplit.scenarios.pilot_files import with_pilot_file
from hybridsplit.scenarios.plain import check_plain
from hybridsplit.scenarios.relays.task import has_relays
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.sections.data import DATA_SOURCES
from hybridsplit.scenarios.shown import gist, shown
from hybridsplit.scenarios.units import format_bytes
from hybridsplit.scenarios.user_code import UserFunction, located_function
from hybridsplit.scenarios.yaml_text import UNREADABLE, problem_of, read_limited, strict_yaml

if TYPE_CHECKING:
    from hybridsplit.scenarios.inference.schema import InferenceScenario
    from hybridsplit.scenarios.relays.schema import RelayScenario

_LIBRARY = Path(__file__).with_name("library")


_OTHER_TASKS = ("wearables", "factory")
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


def load_scenario(name_or_path: str, overrides: Sequence[str] | Mapping[str, Any] = ()) -> Scenario:
    """Load and check a scenario of training.

    Parameters
    ----------
    name_or_path, overrides
        As for :func:`load_task`.

    Raises
    ------
    ScenarioError
        If there is no such scenario, anything in it is wrong, or it is one of an inference task.
    """
    task = load_task(name_or_path, overrides)
    if not isinstance(task, Scenario):
        raise _not_one_cut(task.resolved(), name_or_path[:200])
    return task


def _not_one_cut(document: Mapping[str, Any], origin: str) -> ScenarioError:
    """Return what a command says that trains over one cut."""
    if has_relays(document):
        return ScenarioError(
            f"{origin}: network: models that are cut several times are planned, replayed, compared and reported (the "
            "commands plan, replay, compare and report), and not trained yet; training is over one cut: state radio "
            "and server instead of network"
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
    if is_inference(document, origin):
        from hybridsplit.scenarios.inference.loading import validate_inference  # late: training needs nothing of it

        return validate_inference(document, origin, folder)
    if has_relays(document):
        from hybridsplit.scenarios.relays.loading import validate_relays  # late, as above

        return validate_relays(document, origin, folder)
    return validate_scenario(document, origin, folder)


def scenario_of_values(values: Mapping[str, Any], overrides: Mapping[str, Any], folder: Path | None = None) -> Scenario:
    """Check a scenario given as values.

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
    if is_inference(document, "the scenario") or has_relays(document):
        raise _not_one_cut(document, "the scenario")
    return validate_scenario(document, "the scenario", folder or Path.cwd())


def validate_scenario(document: Mapping[str, Any], origin: str, folder: Path | None = None) -> Scenario:
    """Check a scenario document and turn relative file names into absolute ones.

    Parameters
    ----------
    document
        Plain values, as read from YAML or from ``plan.json``.
    origin
        Name of the document in messages.
    folder
        Folder that relative file names start from; left as they are when None.

    Raises
    ------
    ScenarioError
        If anything is wrong.
    """
    check_plain(document, origin)
    document = with_catalogue_figures(document)
    if folder is not None:
        document = with_pilot_file(with_device_files(document, folder, origin), folder, origin)
    located = _with_absolute_paths(document, folder, origin) if folder is not None else document
    try:
        # Strict validation of plain values wants JSON input: there a list may fill a tuple and text an enumeration.
        scenario = Scenario.model_validate_json(json.dumps(located))
    except ValidationError as error:
        raise ScenarioError(explain(error, located, origin)) from error
    _check_devices(scenario, origin)
    if folder is not None:
        _check_files(scenario, origin)
    return scenario


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


def _with_absolute_paths(document: Mapping[str, Any], folder: Path, origin: str) -> dict[str, Any]:
    """Resolve file names against the scenario's folder, so that a run may change directory."""
    resolved: dict[str, Any] = json.loads(json.dumps(document))
    for section, key, must_be_file in _file_keys(resolved):
        holder = resolved.get(section)
        if isinstance(holder, dict) and isinstance(holder.get(key), str):
            where = f"{origin}: {section}.{key}"
            holder[key] = _located(holder[key], folder, where, must_be_file=must_be_file)
    for section in ("model", "data"):
        holder = resolved.get(section)
        if isinstance(holder, dict) and isinstance(holder.get("python"), str):
            holder["python"] = located_function(holder["python"], folder, f"{origin}: {section}.python")
            if section == "data":
                holder.setdefault("source", "python")
    groups = resolved.get("clients")
    for index, group in enumerate(groups if isinstance(groups, list) else []):
        link = group.get("link") if isinstance(group, dict) else None
        trace = link.get("trace") if isinstance(link, dict) else None
        where = f"{origin}: clients.{index}.link.trace"
        if isinstance(link, dict) and isinstance(trace, str):
            link["trace"] = _located(trace, folder, where, must_be_file=True)
        elif isinstance(trace, dict) and isinstance(trace.get("path"), str):
            trace["path"] = _located(trace["path"], folder, f"{where}.path", must_be_file=True)
    return resolved


def _file_keys(document: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Sections and keys that name files, and whether it must be a file: a folder may be a name on the hub."""
    data = document.get("data")
    source = DATA_SOURCES.get(str(data.get("source"))) if isinstance(data, dict) else None
    files = [] if source is None else [("data", key, True) for key in (*source.file_keys, *source.directory_keys)]
    folders = [] if source is None else [("data", key, False) for key in source.folder_keys]
    return [*files, *folders, ("model", "checkpoint", False)]


def _located(name: str, folder: Path, where: str, *, must_be_file: bool) -> str:
    candidate = located(name, folder, where)
    # A checkpoint or tokenizer that is no local folder may be a name on the hub, which stays as it is.
    return str(candidate.resolve()) if must_be_file or candidate.exists() else name


def _check_devices(scenario: Scenario, origin: str) -> None:
    """Check that devices exist, and that no budget is more than a device has."""
    devices = [("server.device", scenario.server.device)]
    devices += [(f"clients.{index}.device", group.device) for index, group in enumerate(scenario.clients)]
    for where, device_id in devices:
        find_device(device_id, scenario.devices, f"{origin}: {where}")
    for index, group in enumerate(scenario.clients):
        device = find_device(group.device, scenario.devices, origin)
        has_bytes = device.memory_bytes
        if device.can_train and has_bytes is not None and group.memory_budget_bytes > has_bytes:
            raise ScenarioError(
                f"{origin}: clients.{index}.memory_budget_bytes: found {format_bytes(group.memory_budget_bytes)}; "
                f"{group.device} has {format_bytes(has_bytes)} in all"
            )


def _check_files(scenario: Scenario, origin: str) -> None:
    """Check that named files exist, and that a partition's key is one the data has."""
    named_files = [(f"data.{key}", getattr(scenario.data, key)) for key in scenario.data.file_keys]
    for index, group in enumerate(scenario.clients):
        trace = group.link.trace
        key = "link.trace" if isinstance(trace, str) else "link.trace.path"
        named_files.append(
            (f"clients.{index}.{key}", trace if isinstance(trace, str) else getattr(trace, "path", None))
        )
    for where, named in (
        ("model.python", scenario.model.python),
        ("data.python", getattr(scenario.data, "python", None)),
    ):
        if named is not None:
            named_files.append((where, None if (file := UserFunction.parsed(named).file) is None else str(file)))
    for key in scenario.data.directory_keys:
        name = getattr(scenario.data, key)
        if name is not None and not Path(name).is_dir():
            raise ScenarioError(
                f"{origin}: data.{key}: no such folder {shown(name, 200)}; needs a path relative to the scenario file"
            )
    for where, name in named_files:
        if name is not None and not Path(name).is_file():
            raise ScenarioError(
                f"{origin}: {where}: no such file {shown(name, 200)}; needs a path relative to the scenario file"
            )
    key = getattr(scenario.data.partition, "key", "label")
    if key not in scenario.data.natural_keys:
        choices = " or ".join(map(repr, scenario.data.natural_keys))
        raise ScenarioError(f"{origin}: data.partition.key: found {shown(key)}; this source has the keys {choices}")
