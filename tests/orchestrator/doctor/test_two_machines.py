"""The documented commands for a cluster, with two raylets that have homes, and so tokens, of their own."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from hybridsplit.scenarios.loader import builtin_text

pytestmark = [pytest.mark.ray, pytest.mark.slow]
RAY = str(Path(sys.executable).with_name("ray"))
SMALL = {"rounds": 3, "local_steps": 1, "frozen_control": False}


@dataclass(frozen=True)
class Machine:
    """A user's home on a machine, as far as one host can have several."""

    home: Path

    def environment(self, **more: str) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return plain | {"HOME": str(self.home), "RAY_USAGE_STATS_ENABLED": "0"} | more

    def do(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=180, check=False, cwd=self.home,
            env=self.environment(**environment),
        )  # fmt: skip

    @contextmanager
    def running(self, *options: str) -> Iterator[None]:
        """Start Ray here, and end what was started; 'ray stop' would end every Ray of the host."""
        started = subprocess.Popen(
            [RAY, "start", "--block", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            cwd=self.home, env=self.environment(RAY_AUTH_MODE="token"),
        )  # fmt: skip
        try:
            assert started.stdout is not None
            said = []
            for line in started.stdout:
                said.append(line)
                if "Ray runtime started" in line:
                    break
            else:
                pytest.fail("Ray did not start:\n" + "".join(said))
            yield
        finally:
            started.terminate()
            started.communicate(timeout=60)

    def hybridsplit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.do(sys.executable, "-m", "hybridsplit", *arguments)


@dataclass(frozen=True)
class Cluster:
    head: Machine
    other: Machine
    address: str


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Started as docs/training.md says, with sockets under a short name: theirs have at most 107 bytes."""
    homes = tmp_path_factory.mktemp("m")
    head, other = Machine(homes / "a"), Machine(homes / "b")
    for machine in (head, other):
        machine.home.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert head.do("sh", "-c", f"umask 077; {RAY} get-auth-token --generate").returncode == 0
    shutil.copytree(head.home / ".ray", other.home / ".ray")
    address = f"127.0.0.1:{port}"
    own = (f"--port={port}", "--num-cpus=1", "--include-dashboard=false")
    with (
        tempfile.TemporaryDirectory(prefix="hs", dir="/tmp", ignore_cleanup_errors=True) as sockets,
        head.running("--head", *own, f"--temp-dir={sockets}"),
        other.running(f"--address={address}", "--num-cpus=1", '--resources={"pi5": 1}'),
    ):
        yield Cluster(head, other, address)


def scenario(folder: Path, resource: str | None = None) -> str:
    document = yaml.safe_load(builtin_text("quickstart"))
    document["training"] |= SMALL
    if resource is not None:
        document["clients"][1]["ray_resource"] = resource
    path = folder / f"{resource}.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def test_the_doctor_looks_at_both_machines(cluster: Cluster, tmp_path: Path) -> None:
    bound = scenario(tmp_path, "pi5")
    found = cluster.head.hybridsplit("doctor", bound, "--address", cluster.address, "--json")
    document = json.loads(found.stdout)
    assert found.returncode == 0, found.stdout
    places = {check["place"] for check in document["checks"]}
    assert len(places) == 4  # here, two machines, and the cluster
    missing = cluster.head.hybridsplit("doctor", scenario(tmp_path, "nano"), "--address", cluster.address)
    assert missing.returncode == 4
    assert "resource nano: join the device with: ray start" in missing.stdout


def test_without_its_token_the_cluster_is_not_joined(cluster: Cluster, tmp_path: Path) -> None:
    """At once, in one sentence, and without the noise of Ray's own attempts."""
    for text, said in (
        (None, "it asks for a token and there is none here"),
        ("0" * 64, "its token is not the one here"),
    ):
        stranger = Machine(tmp_path / said[:9].replace(" ", "-"))
        (stranger.home / ".ray").mkdir(parents=True)
        if text is not None:
            (stranger.home / ".ray" / "auth_token").write_text(text)
        refused = stranger.hybridsplit("run", "quickstart", "--address", cluster.address, "--out", "run")
        assert refused.returncode == 4
        assert said in refused.stderr
        assert "gcs_client" not in refused.stderr


def test_both_machines_train_to_the_bits_of_one_process(cluster: Cluster, tmp_path: Path) -> None:
    """One client on the device that offers its resource; interrupted after a round, and gone on with."""
    bound = scenario(tmp_path, "pi5")
    has_tensorboard = importlib.util.find_spec("tensorboard") is not None
    log = ("--log", f"tensorboard:{tmp_path / 'events'}") if has_tensorboard else ()
    runs = {}
    for name, how in (
        ("inline", ("--executor", "inline")),
        ("ray", ("--address", cluster.address, "--workers", "2", *log)),
    ):
        runs[name] = str(tmp_path / name)
        for more in (("--rounds", "1"), ("--rounds", "3", "--resume")) if name == "ray" else (("--rounds", "3"),):
            done = cluster.head.hybridsplit("run", bound, "--out", runs[name], *how, *more)
            assert done.returncode == 0, done.stderr
        exported = cluster.head.hybridsplit("export", runs[name], "--to", f"{runs[name]}-model")
        assert exported.returncode == 0, exported.stderr
    weights = [load_file(next(Path(f"{folder}-model").glob("*.safetensors"))) for folder in runs.values()]
    assert weights[0].keys() == weights[1].keys()
    assert all(weights[0][key].equal(weights[1][key]) for key in weights[0])
    assert bool(list((tmp_path / "events").rglob("events.out.tfevents.*"))) == has_tensorboard


def rack_in_replicas(folder: Path) -> str:
    """A small ``rack``, two of whose cards are two machines each."""
    document = yaml.safe_load(builtin_text("rack"))
    document["model"]["config"] |= {
        "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "num_hidden_layers": 4, "vocab_size": 128,
    }  # fmt: skip
    document["data"]["num_samples"] = 128
    document["training"] |= {"micro_batches": [4], "partial_sums": 2, "local_steps": 2, "rounds": 2}
    for node in document["network"]["nodes"][:2]:
        node |= {"replicas": 2, "replica_bps": "10 Gbit/s"}
    path = folder / "rack.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def test_a_server_in_stages_and_replicas_trains_to_the_bits_of_one_process(cluster: Cluster, tmp_path: Path) -> None:
    rack, plan = rack_in_replicas(tmp_path), str(tmp_path / "plan.json")
    planned = cluster.head.hybridsplit("plan", rack, "--strategy", "even-split", "--out", plan)
    assert planned.returncode == 0, planned.stderr
    assert "Stages of clinic-0-0" in planned.stdout
    placement = json.loads(Path(plan).read_text())["clients"][0]["placement"]
    assert [part["replicas"] for part in placement] == [1, 2, 2, 1, 1]
    weights = []
    for name, how in (
        ("inline", ("--executor", "inline")),
        ("ray", ("--address", cluster.address, "--workers", "2")),
    ):
        done = cluster.head.hybridsplit("run", rack, "--plan", plan, "--out", str(tmp_path / name), *how)
        assert done.returncode == 0, done.stderr
        newest = max((tmp_path / name / "checkpoints").rglob("*.safetensors"), key=lambda file: file.parent.name)
        weights.append(load_file(newest))
    assert weights[0].keys() == weights[1].keys()
    assert all(weights[0][key].equal(weights[1][key]) for key in weights[0])


def test_both_machines_share_one_search_to_the_plan_of_one_process(cluster: Cluster, tmp_path: Path) -> None:
    """Stopped, and gone on with from the parts that are kept."""
    parts = tmp_path / "parts.json"
    shared = ("--workers", "2", "--address", cluster.address, "--parts", str(parts))
    plans = []
    for more in ((), shared, shared):
        done = cluster.head.hybridsplit("plan", "quickstart", "--strategy", "static", "--json", *more)
        assert done.returncode == 0, done.stderr
        plans.append(json.loads(done.stdout))
    assert parts.is_file()
    alone, together, again = plans
    assert together["status"] == alone["status"]
    assert together["round_latency_s"] == pytest.approx(alone["round_latency_s"], rel=1e-6)
    assert together["lower_bound_s"] <= alone["objective_s"] * (1 + 1e-9)
    assert again["clients"] == together["clients"]
