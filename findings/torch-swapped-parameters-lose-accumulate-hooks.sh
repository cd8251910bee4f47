#!/usr/bin/env bash
# PyTorch 2.13.0: with torch.__future__.set_swap_module_params_on_conversion(True), which tensor subclasses need to move a
# module, a parameter that ever had a post-accumulate-grad hook takes no more of them after Module.to: hooks registered
# then are accepted and never called, and nothing is said. Training with the optimizer inside backward stands still so,
# and its loss looks plausible; a hook registered for the first time after the conversion is called. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "torch==2.13.0" "numpy" 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import torch


def calls_after_conversion(swap: bool, hooked_before: bool) -> int:
    torch.__future__.set_swap_module_params_on_conversion(swap)
    layer, called = torch.nn.Linear(3, 2), []
    if hooked_before:
        for parameter in layer.parameters():
            parameter.register_post_accumulate_grad_hook(lambda _: None).remove()
    layer.double()
    for parameter in layer.parameters():
        parameter.register_post_accumulate_grad_hook(lambda _: called.append(1))
    layer(torch.ones(1, 3, dtype=torch.float64)).sum().backward()
    return len(called)


found = {(swap, before): calls_after_conversion(swap, before) for swap in (False, True) for before in (False, True)}
for (swap, before), number in found.items():
    print(f"torch {torch.__version__}: swap {swap}, a hook was removed before the conversion {before}: {number} of 2 called")
assert found == {(False, False): 2, (False, True): 2, (True, False): 2, (True, True): 0}, found
PY
