#!/usr/bin/env bash
# PyTorch 2.13.0: the gradient that backward leaves in a tensor may be a view of a larger buffer. Behind a concatenation
# it is a piece of the gradient of the whole: here 4 KiB by nbytes, and 16 KiB stay allocated as long as it lives. In
# split learning the gradient at the cut is kept on a device with a memory budget, where bytes by shape are then too few
# (sending it serialises 4 KiB; keeping it costs 16). A clone gives the rest back. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "torch==2.13.0" "numpy" 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import torch

smashed = torch.ones(64, 16, requires_grad=True)
beside = torch.ones(192, 16)
(torch.cat([smashed, beside]) * 2).sum().backward()
held, shown = smashed.grad.untyped_storage().nbytes(), smashed.grad.nbytes
compact = smashed.grad.clone().untyped_storage().nbytes()
print(f"torch {torch.__version__}: gradient of {shown} bytes in a storage of {held}; its clone in one of {compact}")
assert (shown, held, compact) == (4096, 16384, 4096), (shown, held, compact)
PY
