"""PyTorch's side of the benchmark: child.ts in Python. Takes a job, speaks JSON lines."""

import json
import sys
import time
import warnings


def say(message):
    print(json.dumps(message), flush=True)


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

    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "linear": torch.nn.Linear}[trial["kind"]]
    model = torch.nn.Sequential(kind(trial["input"], trial["output"])).eval()
    model[0].load_state_dict({name: tensors[name] for name in model[0].state_dict()})
    if contender["type"] != "float":
        if "fbgemm" not in torch.backends.quantized.supported_engines:
            return say({"skip": f"PyTorch {torch.__version__} has no fbgemm engine here"})
        torch.backends.quantized.engine = "fbgemm"
        dtype = torch.float16 if contender["type"] == "float16" else torch.qint8
        model = torch.ao.quantization.quantize_dynamic(model, {kind}, dtype=dtype)
    layer, x = model[0], tensors["x"]

    if trial["kind"] != "linear":
        state = (tensors["h0"], tensors["c0"]) if "c0" in tensors else tensors["h0"]

        def call():
            return layer(x, state)

        def output(result):
            return result[0]

    else:

        def call():
            return layer(x)

        def output(result):
            return result

    def measure(calls):
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - begin) * 1e6 / calls

    with torch.inference_mode():
        expected = tensors["y"]
        error = (output(call()) - expected).abs().mean() / expected.abs().mean()
        # Warm up for a tenth of a second, and three calls at least.
        us, spent = [], 0.0
        while len(us) < 3 or (spent < 1e5 and len(us) < 10000):
            us.append(measure(1))
            spent += us[-1]
        say({"version": torch.__version__, "error": error.item(), "usPerCall": min(us)})
        for line in sys.stdin:
            request = json.loads(line)
            say({"batches": [measure(request["calls"]) for _ in range(request["batches"])]})


main()
