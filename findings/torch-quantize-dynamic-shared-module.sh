#!/usr/bin/env bash
# Expected: a layer that stands under two names of a model (tied layers) is quantized under both, as one module; or the
# call says that it cannot do so.
# So it is: `quantize_dynamic` without `inplace` converts it under its first name only. Under the second, among the same
# children, the float layer stays, without a word: the model is half quantized and its two halves are no longer tied.
# Under two parents it becomes two quantized copies, which doubles the memory that tying was to save.
# Where it counts here: src/quantization/quantize-dynamic.ts keeps a shared module one module under each of its names
# ("Deliberate differences" in its documentation).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 numpy
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch import nn
from torch.ao.quantization import quantize_dynamic

layer = nn.Linear(4, 4)
siblings = quantize_dynamic(nn.Sequential(layer, layer), {nn.Linear})
kinds = [type(module).__module__.startswith("torch.ao.nn.quantized.dynamic") for module in siblings]
cousins = quantize_dynamic(nn.ModuleDict({"a": nn.Sequential(layer), "b": nn.Sequential(layer)}), {nn.Linear})
print(f"torch {torch.__version__}: one Linear under two names of a parent: quantized {kinds}")
print(f"under two parents: one module afterwards: {cousins['a'][0] is cousins['b'][0]}")
assert kinds == [True, False] and cousins["a"][0] is not cousins["b"][0], "the behaviour has changed"
PYTHON
