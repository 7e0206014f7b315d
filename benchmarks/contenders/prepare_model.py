"""Prepares a model's trial: prepare_model.py WEIGHTS OUT TRIAL

Writes OUT/x.f32 and OUT/y.f32, a call's input and PyTorch's float result, and OUT/float.onnx and OUT/int8.onnx, the same
model for ONNX Runtime. Prints their shapes, and why there are no graphs, as JSON.
"""

import json
import os
import sys
import warnings

import numpy as np
import torch

import models

# Dynamic quantization's operations less the convolution: ConvInteger is slower than Conv, and it errs so much that the
# voice detector's output is another (cosine 0.24). PyTorch's leaves convolutions in float too.
quantized = ["MatMul", "Gemm", "LSTM", "Attention", "Gather", "EmbedLayerNormalization"]


def export(model, values, folder):
    """The graphs. They take x, h and c, and return y, h1 and c1, or the first of each."""
    from onnxruntime.quantization import quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    count, float_graph = len(values), f"{folder}/float.onnx"
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            values,
            float_graph,
            input_names=["x", "h", "c"][:count],
            output_names=["y", "h1", "c1"][:count],
            opset_version=17,
            dynamo=False,  # keeps an LSTM one operation
        )
    quant_pre_process(float_graph, f"{folder}/ready.onnx")
    quantize_dynamic(f"{folder}/ready.onnx", f"{folder}/int8.onnx", op_types_to_quantize=quantized)
    os.remove(f"{folder}/ready.onnx")


def main():
    weights, folder, trial = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    model = models.load(trial["kind"], weights)
    values = models.inputs(model, trial)
    with torch.inference_mode():
        y = model(*values)
    y = y if torch.is_tensor(y) else y[0]
    values[0].numpy().astype(np.float32).tofile(f"{folder}/x.f32")
    y.numpy().tofile(f"{folder}/y.f32")
    answer = {"x": list(values[0].shape), "y": list(y.shape)}
    if len(values) > 1:
        answer["state"] = list(values[1].shape)
    try:
        export(model, values, folder)
    except ImportError as error:
        answer["skip"] = f"no graph was made: {error}"
    print(json.dumps(answer))


main()
