"""Distributions installed for a test: small ones written on the spot, and the plug-in in ``tests/plugin``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def install(source: Path, folder: Path) -> Path:
    """Install the distribution in ``source`` into a folder of its own, offline; return that folder."""
    copy, site = folder / "source", folder / "site"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", *offline, "--target", str(site), str(copy)],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return site


def write_distribution(folder: Path, name: str, source: str, entry_points: Mapping[str, Mapping[str, str]]) -> Path:
    """Write a distribution of one module as an installer leaves it; return the folder to put on the path."""
    module, groups = name.replace("-", "_"), []
    for group, points in entry_points.items():
        groups += [f"[{group}]", *(f"{point} = {module}:{target}" for point, target in points.items())]
    information = folder / f"{module}-1.0.dist-info"
    information.mkdir(parents=True)
    (folder / f"{module}.py").write_text(source)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("\n".join(groups) + "\n")
    return folder


def run_python(
    arguments: list[str], *sites: Path, folder: Path, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run Python with our sources and some installed folders on its path."""
    path = os.pathsep.join(map(str, (ROOT / "src", *sites)))
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
