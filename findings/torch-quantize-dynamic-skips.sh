#!/usr/bin/env bash
# Expected: a type that the spec of `quantize_dynamic` names is quantized, or the call says why it is not.
# So it is: nothing is said in two common cases. `nn.RNN` stays float, although a quantized RNNCell, LSTM and GRU
# exist; and a model that is itself a layer (a lone `nn.LSTM`) comes back float, because only children are converted.
# Both look like a quantization that lost no accuracy and gained no speed.
# Where it counts here: src/quantization/quantize-dynamic.ts converts RNN and a root that is a layer, and warns of each
# entry of a spec that finds nothing to quantize.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import torch
from torch import nn
from torch.ao.quantization import quantize_dynamic

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    child = quantize_dynamic(nn.Sequential(nn.RNN(4, 4)), {nn.RNN})[0]
    root = quantize_dynamic(nn.LSTM(4, 4), {nn.LSTM})
said = [str(each.message).strip().splitlines()[0] for each in caught if "deprecated" not in str(each.message)]
print(f"torch {torch.__version__}: RNN in a model: {type(child)}, LSTM as the model: {type(root)}, warnings of it: {said}")
assert type(child) is nn.RNN and type(root) is nn.LSTM and said == [], "the behaviour has changed"
PYTHON
