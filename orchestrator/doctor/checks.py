"""What has to hold of machines before a run, as checks with what was found, what is needed, and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hybridsplit.orchestrator.doctor.machine import PACKAGES, Machine
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.units import counted, format_bytes
from hybridsplit.scenarios.user_code import UserFunction

LEAST_PYTHON = (3, 11)
_SHARED_MEMORY_BYTES = 256 * 1024**2
"""What two workers with small models put into Ray's object store."""


@dataclass(frozen=True)
class Check:
    """One thing that has to hold.

    Parameters
    ----------
    place
        Which machine, or the cluster.
    what
        What was looked at.
    found, needed
        In words.
    is_right
        Whether it holds.
    remedy
        What to do where it does not.
    """

    place: str
    what: str
    found: str
    needed: str
    is_right: bool
    remedy: str = ""


@dataclass(frozen=True)
class Node:
    """A machine of a cluster.

    Parameters
    ----------
    name
        What it is called.
    machine
        What it has; None where it could not be asked.
    resources
        What it offers to Ray.
    trouble
        Why it could not be asked.
    """

    name: str
    machine: Machine | None
    resources: Mapping[str, float]
    trouble: str = ""


def named_files(scenario: Scenario | RelayScenario) -> dict[str, str]:
    """Return the files and folders of a scenario that its workers read, by key; names on the hub are none.

    Parameters
    ----------
    scenario
        Its paths are absolute.
    """
    data = scenario.data
    named: dict[str, str | None] = {
        f"data.{key}": getattr(data, key) for key in (*data.file_keys, *data.directory_keys, *data.folder_keys)
    }
    named["model.checkpoint"] = scenario.model.checkpoint
    for key, function in (("model.python", scenario.model.python), ("data.python", getattr(data, "python", None))):
        file = None if function is None else UserFunction.parsed(function).file
        named[key] = None if file is None else str(file)
    return {key: path for key, path in named.items() if path is not None and Path(path).is_absolute()}


def checks_here(machine: Machine, files: Mapping[str, str]) -> Iterator[Check]:
    """Check this machine by itself.

    Parameters
    ----------
    machine
        What it has.
    files
        Paths of a scenario by key.
    """
    here = f"{machine['host']} (here)"
    version = tuple(int(part) for part in machine["python"].split("."))
    wanted = ".".join(map(str, LEAST_PYTHON))
    yield Check(here, "Python", machine["python"], f"{wanted} or newer", version >= LEAST_PYTHON, f"install {wanted}")
    for name in PACKAGES:
        found = machine["packages"][name]
        yield Check(here, name, found or "absent", "installed", bool(found), "pip install hybridsplit")
    yield _token_check(here, machine)
    shared = machine["shared_memory_bytes"]
    if shared is not None:
        least = f"{format_bytes(_SHARED_MEMORY_BYTES)} or more"
        remedy = "enlarge it (docker: --shm-size), or Ray keeps its objects on disk"
        has_enough = shared >= _SHARED_MEMORY_BYTES
        yield Check(here, "free shared memory (/dev/shm)", format_bytes(shared), least, has_enough, remedy)
    for key, path in files.items():
        there = bool(machine["files"].get(path))
        yield Check(here, key, path if there else f"no {path}", "a file that can be read", there, "put it there")


def checks_of_node(node: Node, driver: Machine, files: Mapping[str, str]) -> Iterator[Check]:
    """Check a machine of the cluster against this one.

    Parameters
    ----------
    node
        The machine.
    driver
        The machine that runs the command.
    files
        Paths of a scenario by key.
    """
    machine = node.machine
    if machine is None:
        yield Check(node.name, "answer", node.trouble, "an answer", False, "look into its logs, or start it again")
        return
    same = "the same as here"
    yield Check(
        node.name, "Python", machine["python"], f"{driver['python']} ({same})", machine["python"] == driver["python"],
        "install this version there",
    )  # fmt: skip
    for name in PACKAGES:
        found, wanted = machine["packages"][name], driver["packages"][name]
        yield Check(
            node.name, name, found or "absent", f"{wanted} ({same})", found == wanted, f"pip install {name}=={wanted}"
        )
    yield _token_check(node.name, machine)
    for key, path in files.items():
        found, wanted = machine["files"].get(path, ""), driver["files"].get(path, "")
        differs = "another one" if found else "absent"
        is_same = bool(found) and found == wanted
        yield Check(
            node.name, key, "the same" if is_same else differs, f"{path} as it is here", is_same,
            f"copy it to {path} there",
        )  # fmt: skip


def checks_of_cluster(nodes: Sequence[Node], scenario: Scenario | RelayScenario | None) -> Iterator[Check]:
    """Check what the machines offer together.

    Parameters
    ----------
    nodes
        The machines.
    scenario
        What is to run; None checks cores alone.
    """
    cores = sum(node.resources.get("CPU", 0.0) for node in nodes)
    groups = () if scenario is None else scenario.clients
    machines = scenario.network.machines() if isinstance(scenario, RelayScenario) else {}
    if scenario is None or any(group.ray_resource is None for group in groups) or None in machines.values():
        found = f"{cores:g} on {counted(len(nodes), 'machine')}"
        remedy = "join a machine with 'ray start --address=HEAD:PORT'"
        yield Check("cluster", "cores", found, "1 or more for what is emulated", cores >= 1, remedy)
    for resource in sorted({group.ray_resource for group in groups if group.ray_resource is not None}):
        units = sum(node.resources.get(resource, 0.0) for node in nodes)
        command = f"ray start --address=HEAD:PORT --num-cpus=0 --resources='{{\"{resource}\": 1}}'"
        yield Check(
            "cluster", f"resource {resource}", f"{units:g}", "1 or more (clients.ray_resource)", units >= 1,
            f"join the device with: {command}",
        )  # fmt: skip
    # Every machine of the network, and each of its replicas, takes one of its resource.
    wanted = Counter(resource for resource in machines.values() if resource is not None)
    for resource, count in sorted(wanted.items()):
        units = sum(node.resources.get(resource, 0.0) for node in nodes)
        command = f"ray start --address=HEAD:PORT --resources='{{\"{resource}\": {count}}}'"
        yield Check(
            "cluster", f"resource {resource}", f"{units:g}", f"{count} or more (network.nodes.ray_resource)",
            units >= count, f"join the machine with: {command}",
        )  # fmt: skip


def _token_check(place: str, machine: Machine) -> Check:
    found = machine["token"]
    words = {
        "private": "readable for its owner alone", "open": "readable for other users", "absent": "absent",
        "elsewhere": "in the environment",
    }  # fmt: skip
    return Check(
        place, "Ray's token", words[found], "readable for its owner alone, where there is one", found != "open",
        "chmod 600 ~/.ray/auth_token",
    )  # fmt: skip
