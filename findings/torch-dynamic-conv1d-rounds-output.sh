#!/usr/bin/env bash
# Expected: a dynamically quantized layer of PyTorch takes and returns float; weights and activations are of 8 bits
# inside. So it is with Linear, LSTM and GRU.
# So it is with `torch.ao.nn.quantized.dynamic.Conv1d`: its float output has been rounded to 8 bits as well, 128 levels
# at most over its own range, which costs more accuracy than the two operands.
# Where it counts here: nn.quantized.dynamic.Conv1d (src/nn/quantized/dynamic/conv.ts) has the same integers inside, and
# returns the sums in float. So its outputs differ from PyTorch's by up to half such a level.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import torch
from torch import nn
from torch.ao.nn.quantized import dynamic
from torch.ao.quantization import default_dynamic_qconfig

warnings.simplefilter("ignore")
torch.manual_seed(0)
levels = {}
for kind, layer, x in (("Conv1d", nn.Conv1d(4, 8, 3), torch.randn(2, 4, 402)), ("Linear", nn.Linear(4, 8), torch.randn(800, 4))):
    layer.qconfig = default_dynamic_qconfig
    y = getattr(dynamic, kind).from_float(layer)(x)
    levels[kind] = (str(y.dtype), y.numel(), len(y.unique()))
print(f"torch {torch.__version__}, dtype, outputs, different ones: {levels}")
assert levels["Conv1d"][2] <= 129 and levels["Linear"][2] > 1000, "the behaviour has changed"
PYTHON
