#!/usr/bin/env bash
# PyTorch 2.13.0: operators on the meta device, which memory planners trace instead of running them, do not always give
# the shapes, types and strides of the CPU's kernels. Seen here: batch norm in evaluation gives a mean and a deviation a
# channel on meta and empty tensors on the CPU; batch norm in training on bfloat16 keeps float32 statistics on meta and
# bfloat16 ones on the CPU; the backward pass of layer norm keeps the strides of a transposed input on meta and writes
# in row-major order on the CPU, so that a reshape that follows copies in one trace and not in the other. Peaks counted
# on meta are then off by those bytes. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "torch==2.13.0" "numpy" 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import torch

aten = torch.ops.aten
seen = {}
for device in ("cpu", "meta"):
    images = torch.ones(2, 8, 4, 4, device=device)
    per_channel = [torch.ones(8, device=device) for _ in range(4)]
    _, mean, deviation = aten.native_batch_norm(images, *per_channel, False, 0.1, 1e-5)
    half = [tensor.bfloat16() for tensor in per_channel]
    _, mean_of_half, _ = aten.native_batch_norm(images.bfloat16(), *half, True, 0.1, 1e-5)
    transposed = torch.ones(4, 16, 8, device=device).transpose(1, 2)
    _, row_mean, row_scale = aten.native_layer_norm(transposed, [16], None, None, 1e-5)
    gradient, _, _ = aten.native_layer_norm_backward(
        torch.ones_like(transposed), transposed, [16], row_mean, row_scale, None, None, [True, False, False]
    )
    seen[device] = tuple(mean.shape), mean_of_half.dtype, gradient.stride()
    print(f"torch {torch.__version__} on {device}: evaluation statistics {tuple(mean.shape)} and {tuple(deviation.shape)}, "
          f"bfloat16 statistics {mean_of_half.dtype}, strides of a layer norm's input gradient {gradient.stride()}")
assert seen["cpu"] == ((0,), torch.bfloat16, (128, 16, 1)), seen["cpu"]
assert seen["meta"] == ((8,), torch.float32, (128, 1, 8)), seen["meta"]
PY
