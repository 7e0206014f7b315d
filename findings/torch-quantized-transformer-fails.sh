#!/usr/bin/env bash
# Expected: `quantize_dynamic` of a transformer's encoder, the best known use of it beside the LSTM, gives a model that
# runs where it is meant to run, in `eval`.
# So it is: `nn.TransformerEncoder` raises an AttributeError there, because it looks at the device of `linear1.weight`
# to choose its fast path, and the quantized Linear has a method of that name. In training mode the same model runs.
# Where it counts here: src/nn/transformer.ts has no second path, so that quantized encoders run in both; and
# modelFromStateDict reads the checkpoint that PyTorch saves of such a model (test/transformer.test.ts).
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

warnings.simplefilter("ignore")
layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
encoder = quantize_dynamic(nn.TransformerEncoder(layer, 2), {nn.Linear})
x = torch.randn(1, 4, 16)
said = []
for mode in (encoder.train, encoder.eval):
    mode()
    try:
        with torch.no_grad():
            said.append(str(tuple(encoder(x).shape)))
    except AttributeError as error:
        said.append(f"AttributeError: {error}")
print(f"torch {torch.__version__}: in training {said[0]}, in eval {said[1]}")
assert said[0] == "(1, 4, 16)" and said[1].startswith("AttributeError"), "the behaviour has changed"
PYTHON
