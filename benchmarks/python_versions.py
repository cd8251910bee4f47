"""Install the wheel under several Pythons, each in an environment of its own, and use it.

Run: ``python -m benchmarks.python_versions PYTHON [PYTHON ...]``, with interpreters such as ``python3.11``,
``python3.12`` and ``python3.13``. For each: create an environment, install the wheel with the tested versions
(``constraints.txt``; ``--lowest`` installs the lowest versions that ``pyproject.toml`` declares instead), then plan,
replay and train quickstart, inline and on Ray. Prints a row a Python; exits with 1 if any step fails. Downloads what
the package index has for that Python, PyTorch among it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STEPS: dict[str, list[str]] = {
    "version": ["hybridsplit", "--version"],
    "plan": ["hybridsplit", "plan", "quickstart", "--out", "plan.json"],
    "replay": ["hybridsplit", "replay", "plan.json", "--rounds", "2"],
    "inline": ["hybridsplit", "run", "quickstart", "--plan", "plan.json", "--rounds", "1", "--executor", "inline"],
    "ray": ["hybridsplit", "run", "quickstart", "--plan", "plan.json", "--rounds", "1", "--workers", "2"],
    "python": ["python", "-c", "import hybridsplit as hs; print(hs.plan('quickstart', strategy='greedy'))"],
}


def lowest_versions() -> list[str]:
    """Return every dependency at the lowest version that is declared."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [re.sub(r">=([^,]+).*", r"==\1", one) for one in project["dependencies"]]


def run(arguments: list[str | Path], folder: Path, limit_s: float) -> str:
    """Run a command; return an empty text, or the last line of what went wrong."""
    try:
        done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        return f"took more than {limit_s:g} s"
    lines = (done.stderr or done.stdout).strip().splitlines()
    return "" if done.returncode == 0 else lines[-1] if lines else f"exit {done.returncode}"


def try_python(python: str, wheel: Path, folder: Path, *, lowest: bool) -> dict[str, str]:
    """Install and use the wheel; return for every step what went wrong, or an empty text."""
    environment = folder / "environment"
    made = run([python, "-m", "venv", environment], folder, 120)
    if made:
        return {"install": made}
    pins: list[str | Path] = [*lowest_versions()] if lowest else ["--constraint", ROOT / "constraints.txt"]
    pip: list[str | Path] = [environment / "bin" / "python", "-m", "pip", "install", "--quiet"]
    installed = run([*pip, *pins, wheel], folder, 3600)
    if installed:
        return {"install": installed}
    found = {"install": ""}
    for name, (program, *arguments) in STEPS.items():
        found[name] = run([environment / "bin" / program, *arguments], folder, 600)
    return found


def main() -> None:
    """Try every Python and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pythons", nargs="+", metavar="PYTHON")
    parser.add_argument("--lowest", action="store_true", help="lowest declared versions instead of the tested ones")
    arguments = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", scratch]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        wheel = next(Path(scratch).glob("*.whl"))
        for number, python in enumerate(arguments.pythons):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            found = try_python(python, wheel, folder, lowest=arguments.lowest)
            words = [f"{step} {'ok' if not what else 'FAILED: ' + what}" for step, what in found.items()]
            print(f"{python}: {', '.join(words)}", flush=True)
            failed |= any(found.values())
    sys.exit(failed)


if __name__ == "__main__":
    main()
