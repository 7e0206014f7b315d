#!/usr/bin/env bash
# Expected: `quantize_dynamic` changes the outputs of a model by little, or refuses it.
# So it is: where two LSTM nodes share their weights (a module that is called twice, through PyTorch's exporter), each
# node's turn rearranges the shared integers, and the result is another model. Nothing is said.
# Where it counts here: src/serialization/formats/onnx/read.ts refuses DynamicQuantizeLSTM nodes that share weights.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy
cd "$folder"
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

random = np.random.default_rng(0)
x = random.normal(size=(5, 1, 4)).astype(np.float32)


def error(shared):
    """Of the quantized model: two LSTM in a row with the same weights, under one name or two."""
    values = {name: random.uniform(-0.5, 0.5, (1, 16, 4)).astype(np.float32) for name in ("W", "R")}
    names = ["", ""] if shared else ["", "2"]
    tensors = [numpy_helper.from_array(value, name + each) for name, value in values.items() for each in sorted(set(names))]
    nodes, given = [], "x"
    for i, each in enumerate(names):
        nodes += [
            helper.make_node("LSTM", [given, "W" + each, "R" + each], [f"y{i}"], hidden_size=4),
            helper.make_node("Squeeze", [f"y{i}", "one"], [f"s{i}"]),
        ]
        given = f"s{i}"
    info = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [5, 1, 4])
    tensors.append(numpy_helper.from_array(np.array([1]), "one"))
    graph = helper.make_graph(nodes, "g", [info("x")], [info("s1")], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "m.onnx")
    quantize_dynamic("m.onnx", "q.onnx", weight_type=QuantType.QInt8)
    run = lambda path: onnxruntime.InferenceSession(path).run(None, {"x": x})[0]
    return np.abs(run("m.onnx") - run("q.onnx")).max()


apart, shared = error(False), error(True)
print(f"onnxruntime {onnxruntime.__version__}: largest error with weights under two names {apart:.5f}, under one {shared:.5f}")
assert apart < 0.005 and shared > 0.02, "the behaviour has changed"
PYTHON
