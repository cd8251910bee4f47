#!/usr/bin/env bash
# cvxpy 1.9.3 with SciPy 1.17.1: "import cvxpy" imports all of scipy.stats, 68 modules that by themselves take most of
# a second of CPU, although only one atom (quantum_rel_entr) calls one function of it (entropy). A program that states
# a convex problem in a command of its own pays this at every start. Without the product; fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "cvxpy==1.9.3" "scipy==1.17.1" 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import pathlib
import re
import subprocess
import sys

import cvxpy
import scipy

stats = sorted(name for name in sys.modules if name.startswith("scipy.stats"))
sources = [
    path.name
    for path in pathlib.Path(cvxpy.__file__).parent.rglob("*.py")
    if "tests" not in path.parts and re.search(r"^\s*(from scipy\.stats|from scipy import stats|import scipy\.stats)", path.read_text(), re.M)
]
cpu = {
    what: float(
        subprocess.run(
            [sys.executable, "-c", f"import time; t = time.process_time(); import {what}; print(time.process_time() - t)"],
            capture_output=True, text=True, check=True,
        ).stdout
    )
    for what in ("cvxpy", "scipy.stats")
}
print(f"cvxpy {cvxpy.__version__}, SciPy {scipy.__version__}: {len(stats)} modules of scipy.stats are loaded")
print(f"files of cvxpy that import it: {', '.join(sources)}")
print(f"CPU seconds: cvxpy {cpu['cvxpy']:.2f}, scipy.stats by itself {cpu['scipy.stats']:.2f}")
assert len(stats) > 50 and sources == ["quantum_rel_entr.py"], (len(stats), sources)
PY
