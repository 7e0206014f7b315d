#!/usr/bin/env bash
# Expected: PyTorch's `reduce_range=True` makes activations 7-bit numbers, so the integers lie in 0..127. A kernel may
# then pair them with int8 weights in saturating 16-bit sums, or treat them as signed bytes.
# So it is: 128 occurs. The scale is (max - min) / 127 and the zero point is rounded, so a symmetric range such as
# [-1, 1] has zero point 64, and its largest value is rounded from 127.5 to the even 128. Every tanh that saturates
# does it. PyTorch computes with the 128; whoever clamps to 127 gets other numbers.
# Where it counts here: the contract in native/kernels/kernels.h (activations are 0..128), the limits of 16-bit sums
# there, and signed dot products, which take q - 128 or q - zero point, never q itself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 numpy
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch

x = torch.tensor([-1.0, 1.0])
scale, zero_point = torch._choose_qparams_per_tensor(x, True)
q = torch.quantize_per_tensor(x, scale, zero_point, torch.quint8).int_repr().tolist()
print(f"torch {torch.__version__}: [-1, 1] with reduce_range has scale {scale}, zero point {zero_point}, integers {q}")
assert (zero_point, q) == (64, [0, 128]), "the behaviour has changed"
PYTHON
