"""The wheel carries everything, and works from a directory whose files have our packages' names."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
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


PLAIN, CURRENT_FOLDER = {}, {"PYTHONPATH": "."}
"""The folder is on Python's path anyway for -m and scripts, or because the user put it there."""


def run(environment: Path, folder: Path, program: list[str], extra: dict[str, str]) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    command = [environment / "bin" / program[0], *program[1:]]
    return subprocess.run(command, cwd=folder, env=clean | extra, capture_output=True, text=True, timeout=300)


@pytest.fixture
def hostile_folder(tmp_path: Path) -> Path:
    """A user's directory with modules and packages of our folders' names."""
    for name in ("runtime", "profiler", "solver", "orchestrator", "tests", "benchmarks"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('the user\\'s own {name}.py')\n")
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "__init__.py").write_text("raise ImportError('the user\\'s own scenarios')\n")
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


SCRIPT = """
import hybridsplit as hs

if __name__ == "__main__":
    plan = hs.plan("quickstart")
    plan.save(__import__("pathlib").Path("plan.json"))
    print(plan)
"""


@pytest.mark.parametrize(
    "extra", [pytest.param(PLAIN, id="plain", marks=pytest.mark.slow), pytest.param(CURRENT_FOLDER, id="PYTHONPATH=.")]
)
@pytest.mark.parametrize("start", ["console", "-m", "script"])
def test_plans_from_a_folder_with_modules_of_our_names(
    start: str, extra: dict[str, str], environment: Path, hostile_folder: Path
) -> None:
    (hostile_folder / "script.py").write_text(SCRIPT)
    arguments = ["plan", "quickstart", "--out", "plan.json"]
    program = {
        "console": ["hybridsplit", *arguments],
        "-m": ["python", "-m", "hybridsplit", *arguments],
        "script": ["python", "script.py"],
    }[start]
    done = run(environment, hostile_folder, program, extra)
    assert done.returncode == 0, done.stderr
    assert "round latency" in done.stdout
    assert (hostile_folder / "plan.json").is_file()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("start", ["console", "script"])
def test_trains_on_ray_from_such_a_folder(start: str, environment: Path, hostile_folder: Path) -> None:
    settings = ["--rounds", "1", "--workers", "1", "--set", "training.frozen_control=false"]
    (hostile_folder / "script.py").write_text(
        "import hybridsplit as hs\n"
        "if __name__ == '__main__':\n"
        "    scenario = hs.load('quickstart', training__frozen_control=False)\n"
        "    print(hs.run(hs.plan(scenario), rounds=1, executor='ray', workers=1).report)\n"
    )
    program = {"console": ["hybridsplit", "run", "quickstart", *settings], "script": ["python", "script.py"]}[start]
    done = run(environment, hostile_folder, program, CURRENT_FOLDER)
    assert done.returncode == 0, done.stderr
    assert (hostile_folder / "runs" / "quickstart" / "report.html").is_file()


def test_an_editable_install_adds_one_name() -> None:
    """The path file of an editable install leads to a folder that holds hybridsplit alone."""
    assert [path.name for path in (ROOT / "src").iterdir() if path.name != "__pycache__"] == ["hybridsplit"]
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["dev-mode-dirs"] == ["src"]
