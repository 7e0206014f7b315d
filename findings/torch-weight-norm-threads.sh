#!/usr/bin/env bash
# Expected: the weight that `torch.nn.utils.weight_norm` composes of g and v depends on g and v alone: it is a parameter of
# the model, computed once for each row or column.
# So it is for dim 0, where each row is summed by one thread. With the last dim the rows of v are divided among the threads,
# whose sums are added afterwards, so the same checkpoint is another model on a machine with other cores: a third of the
# weights differ in the last bit, enough to flip a rounding when the weight is quantized.
# Where it counts here: src/nn/utils/reparametrize.ts gives the bits of one thread; test/fixtures/make_reparametrized.py
# sets one thread.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torch.nn.utils import parametrizations

torch.manual_seed(0)
differ = {}
for dim in (0, 1):
    linear = parametrizations.weight_norm(torch.nn.Linear(64, 48), dim=dim)
    weights = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        weights.append(linear.weight.detach().clone())
    differ[dim] = int((weights[0] != weights[1]).sum())
print(f"torch {torch.__version__}: of {48 * 64} weights differ between 1 and 2 threads: dim 0 {differ[0]}, dim 1 {differ[1]}")
assert differ[0] == 0 and differ[1] > 100, "the behaviour has changed"
PYTHON
