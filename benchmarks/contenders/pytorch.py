"""PyTorch's side of the benchmark: child.ts in Python. Takes a job, speaks JSON lines."""

import json
import sys
import time
import warnings


def say(message):
    print(json.dumps(message), flush=True)


def quantize(module, contender, torch):
    """The module as the contender runs it."""
    if contender["type"] == "float":
        return module
    torch.backends.quantized.engine = "fbgemm"
    dtype = torch.float16 if contender["type"] == "float16" else torch.qint8
    return torch.ao.quantization.quantize_dynamic(module, dtype=dtype)


def layer(job, tensors, torch):
    """A layer's call, and what takes its output out of the result."""
    trial, x = job["trial"], tensors["x"]
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "linear": torch.nn.Linear}[trial["kind"]]
    model = torch.nn.Sequential(kind(trial["input"], trial["output"])).eval()
    model[0].load_state_dict({name: tensors[name] for name in model[0].state_dict()})
    module = quantize(model, job["contender"], torch)[0]
    if trial["kind"] == "linear":
        return lambda: module(x), lambda result: result
    state = (tensors["h0"], tensors["c0"]) if "c0" in tensors else tensors["h0"]
    return lambda: module(x, state), lambda result: result[0]


def model(job, tensors, torch):
    """A whole model's call. A stream's state goes from call to call."""
    import models

    trial = job["trial"]
    module = models.load(trial["kind"], job["model"]["weights"])
    x = tensors["x"].long() if trial["kind"] == "minilm" else tensors["x"]
    streams = models.streams(module, trial)
    state = models.state(module) if streams else ()
    module = quantize(module, job["contender"], torch)
    if not streams:
        return lambda: module(x), lambda result: result

    def call():
        nonlocal state
        result, *state = module(x, *state)
        return result

    return call, lambda result: result


def main():
    job = json.loads(sys.argv[1])
    trial, contender = job["trial"], job["contender"]
    try:
        import torch
    except Exception as error:  # absent, or broken in any of many ways
        return say({"skip": f"import torch fails: {str(error).splitlines()[0]}"})
    warnings.simplefilter("ignore")
    torch.set_num_threads(trial["threads"])
    torch.set_num_interop_threads(1)

    with open(job["file"], "rb") as file:
        data = torch.frombuffer(bytearray(file.read()), dtype=torch.float32)
    tensors, start = {}, 0
    for name, shape in job["tensors"]:
        count = torch.Size(shape).numel()
        tensors[name] = data[start : start + count].reshape(shape)
        start += count

    if contender["type"] != "float" and "fbgemm" not in torch.backends.quantized.supported_engines:
        return say({"skip": f"PyTorch {torch.__version__} has no fbgemm engine here"})
    call, output = (model if "model" in job else layer)(job, tensors, torch)

    def measure(calls):
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - begin) * 1e6 / calls

    with torch.inference_mode():
        actual, expected = output(call()), tensors["y"]
        error = (actual - expected).abs().mean() / expected.abs().mean()
        cosine = torch.cosine_similarity(actual.flatten(), expected.flatten(), 0)
        # Warm up for a tenth of a second, and three calls at least.
        us, spent = [], 0.0
        while len(us) < 3 or (spent < 1e5 and len(us) < 10000):
            us.append(measure(1))
            spent += us[-1]
        differences = {"error": error.item(), "cosine": cosine.item()}
        say({"version": torch.__version__, **differences, "usPerCall": min(us)})
        for line in sys.stdin:
            request = json.loads(line)
            say({"batches": [measure(request["calls"]) for _ in range(request["batches"])]})


main()
