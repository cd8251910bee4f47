"""The wheel carries everything, and works from a directory whose files have our packages' names."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.install


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment in which our packages come from the wheel alone.

    Third-party packages are lent by the running environment through a path file, whose own path files (an editable
    install of ours among them) are not followed.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)], check=True, timeout=120)
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def run(environment: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return subprocess.run(
        [environment / "bin" / "hybridsplit", *arguments],
        cwd=folder,
        env=clean,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def hostile_folder(tmp_path: Path) -> Path:
    """A user's directory with modules of our packages' names."""
    for name in ("runtime", "profiler", "solver", "scenarios", "orchestrator"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('the user\\'s own {name}.py')\n")
    return tmp_path


def test_wheel_carries_packages_data_and_markers(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert len(zipfile.ZipFile(wheel).namelist()) == len(names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"hybridsplit"}
    assert "hybridsplit/py.typed" in names
    for package in ("orchestrator", "profiler", "runtime", "scenarios", "solver"):
        sources = {f"hybridsplit/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / package).rglob("*.py")}
        assert sources <= names
    for name in ("quickstart", "smart-home", "campus", "city"):
        assert f"hybridsplit/scenarios/library/{name}.yaml" in names
    assert "hybridsplit/scenarios/devices.yaml" in names
    assert "hybridsplit/plugins.py" in names
    testing = {path.name for path in (ROOT / "src" / "hybridsplit" / "testing").glob("*.py")}
    assert testing == {name.rpartition("/")[2] for name in names if name.startswith("hybridsplit/testing/")}
    assert "hybridsplit/orchestrator/report/template.html.j2" in names


def test_installed_wheel_is_what_runs(environment: Path, tmp_path: Path) -> None:
    code = "import hybridsplit.runtime as r, hybridsplit.scenarios as s; print(r.__file__, s.__file__)"
    done = subprocess.run(
        [environment / "bin" / "python", "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert all(str(environment) in path for path in done.stdout.split())


def test_plans_from_a_directory_with_a_runtime_of_its_own(environment: Path, hostile_folder: Path) -> None:
    done = run(environment, hostile_folder, "plan", "quickstart", "--out", "plan.json")
    assert done.returncode == 0, done.stderr
    assert "round latency" in done.stdout
    assert (hostile_folder / "plan.json").is_file()


@pytest.mark.ray
def test_trains_on_ray_from_such_a_directory(environment: Path, hostile_folder: Path) -> None:
    settings = ["--rounds", "1", "--workers", "1", "--set", "training.frozen_control=false"]
    done = run(environment, hostile_folder, "run", "quickstart", *settings)
    assert done.returncode == 0, done.stderr
    assert (hostile_folder / "runs" / "quickstart" / "report.html").is_file()
