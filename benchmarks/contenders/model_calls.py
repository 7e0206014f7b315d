"""The calls of the benchmark's whole models in PyTorch: weights, inputs, and the examples' modules as a call needs them.

A stream (one frame or chunk a call) takes and returns the LSTM's state; everything else is one call without state.
"""

import json
import os
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

sys.path.append(os.path.join(os.path.dirname(__file__), "..", "..", "examples"))
import models as examples


def safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    start = 8 + int.from_bytes(data[:8], "little")
    state = {}
    for name, entry in json.loads(data[8:start]).items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        first, end = entry["data_offsets"]
        values = np.frombuffer(data[start + first : start + end], np.float32).reshape(entry["shape"])
        state[name] = torch.from_numpy(values.copy())
    return state


def checkpoint(path):
    return torch.load(path, map_location="cpu", weights_only=True)


class MiniLM(examples.SentenceEncoder):
    """Sentences of one length need no mask, which would cost time."""

    def forward(self, words):
        x = self.embeddings(words)
        for layer in self.encoder["layer"]:
            x = layer(x, None)
        return F.normalize(x.mean(1))

    state = staticmethod(safetensors)

    @staticmethod
    def input(batch, steps):
        """Random words between the marks of a sentence's begin and end."""
        words = torch.randint(1996, 30522, (batch, steps))
        words[:, 0], words[:, -1] = 101, 102
        return words


class BeatNet(nn.Module):
    """A convolution over each frame's spectrum, then two layers of LSTM over the frames: logits of three classes."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(1, 2, 10)
        self.linear0 = nn.Linear(262, 150)
        self.lstm = nn.LSTM(150, 150, 2, batch_first=True)
        self.linear = nn.Linear(150, 3)

    def forward(self, frames, *state):
        x = F.max_pool1d(F.relu(self.conv1(frames[:, None])), 2)
        x, after = self.lstm(self.linear0(x.flatten(1))[None], state or None)
        logits = self.linear(x)[0]
        return (logits, *after) if state else logits

    state = staticmethod(checkpoint)
    hidden = (2, 1, 150)

    @staticmethod
    def input(batch, steps):
        return torch.randn(steps, 272).abs()


class Silero(examples.VoiceDetector):
    """Its cell is a layer, so that a sound is one call, and one operation in a graph."""

    def __init__(self):
        super().__init__()
        del self.lstm_cell
        self.lstm = nn.LSTM(128, 128)

    def forward(self, chunks, *state):
        x, after = self.lstm(self.features(chunks)[:, None], state or None)
        speech = torch.sigmoid(self.final_conv(F.relu(x).transpose(1, 2))).flatten()
        return (speech, *after) if state else speech

    @staticmethod
    def state(path):
        cell = {f"lstm_cell.{name}": f"lstm.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        return {cell.get(name, name): value for name, value in safetensors(path).items()}

    hidden = (1, 1, 128)

    @staticmethod
    def input(batch, steps):
        """512 samples after the last 64 of the chunk before; a voice-like tone comes and goes in noise."""
        time = torch.arange(64 + 512 * steps) / 16000
        tone = sum(torch.sin(2 * torch.pi * 140 * k * time) / k for k in range(1, 20))
        samples = 0.05 * tone * (torch.sin(2 * torch.pi * time) > 0) + 0.01 * torch.randn(len(time))
        return samples.unfold(0, 576, 512).clone()


class Resemblyzer(examples.SpeakerEncoder):
    @staticmethod
    def state(path):
        return checkpoint(path)["model_state"]

    @staticmethod
    def input(batch, steps):
        """The power of mel bands has a heavy tail."""
        return 0.05 * torch.exp(1.5 * torch.randn(batch, steps, 40))


models = {"minilm": MiniLM, "beatnet": BeatNet, "silero": Silero, "resemblyzer": Resemblyzer}


def load(kind, weights):
    """The float model with its weights, a file."""
    model = models[kind]()
    state = model.state(weights)
    # Files also hold what only training or other tasks need.
    model.load_state_dict({name: state[name] for name in model.state_dict()})
    return model.eval()


def inputs(model, trial):
    """What a call takes: the input, and for a stream the state before its first frame."""
    torch.manual_seed(1)
    x = model.input(trial["batch"], trial["steps"])
    return (x, *state(model)) if streams(model, trial) else (x,)


def streams(model, trial):
    return hasattr(model, "hidden") and trial["steps"] == 1


def state(model):
    return (torch.zeros(model.hidden), torch.zeros(model.hidden))
