"""The whole models of the benchmark in PyTorch: their weights, and inputs for the shapes of a trial.

A stream (one frame or chunk a call) takes and returns the LSTM's state; everything else is one call without state.
"""

import json

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


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


class MiniLM(nn.Module):
    """BERT with 6 layers of 384 in 12 heads. The embedding of a sentence is the mean over its words, of length 1."""

    def __init__(self):
        super().__init__()
        self.word, self.position = nn.Embedding(30522, 384), nn.Embedding(512, 384)
        self.token = nn.Embedding(2, 384)
        self.norm = nn.LayerNorm(384, eps=1e-12)
        self.layers = nn.ModuleList(self.layer() for _ in range(6))

    @staticmethod
    def layer():
        square = {name: nn.Linear(384, 384) for name in ("query", "key", "value", "out")}
        wide = {"up": nn.Linear(384, 1536), "down": nn.Linear(1536, 384)}
        norms = {name: nn.LayerNorm(384, eps=1e-12) for name in ("norm1", "norm2")}
        return nn.ModuleDict({**square, **wide, **norms})

    def forward(self, words):
        batch, steps = words.shape
        x = self.norm(self.word(words) + self.position.weight[:steps] + self.token.weight[0])
        for layer in self.layers:
            heads = (layer[name](x).view(batch, steps, 12, 32).transpose(1, 2) for name in ("query", "key", "value"))
            mixed = F.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(batch, steps, 384)
            x = layer["norm1"](x + layer["out"](mixed))
            x = layer["norm2"](x + layer["down"](F.gelu(layer["up"](x))))
        return F.normalize(x.mean(1))

    @staticmethod
    def state(path):
        own = {
            "embeddings.word_embeddings": "word",
            "embeddings.position_embeddings": "position",
            "embeddings.token_type_embeddings": "token",
            "embeddings.LayerNorm": "norm",
            "encoder.layer": "layers",
            "attention.self.": "",
            "attention.output.dense": "out",
            "attention.output.LayerNorm": "norm1",
            "intermediate.dense": "up",
            "output.dense": "down",
            "output.LayerNorm": "norm2",
        }
        state = {}
        for name, value in safetensors(path).items():
            for theirs, ours in own.items():
                name = name.replace(theirs, ours)
            if not name.startswith("pooler"):
                state[name] = value
        return state

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


class Silero(nn.Module):
    """A spectrum by convolution, four more convolutions, an LSTM over the chunks: the probability of speech in each."""

    def __init__(self):
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(129, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm = nn.LSTM(128, 128)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(self, chunks, *state):
        x = self.stft_conv(F.pad(chunks[:, None], (0, 64), "reflect"))
        x = (x[:, :129] ** 2 + x[:, 129:] ** 2).sqrt()
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = F.relu(conv(x))
        x, after = self.lstm(x.transpose(1, 2), state or None)
        speech = torch.sigmoid(self.final_conv(F.relu(x).transpose(1, 2)))[:, :, 0]
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


class Resemblyzer(nn.Module):
    """Three layers of LSTM over mel spectra: for each window an embedding of the speaker, of length 1."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, mels):
        return F.normalize(F.relu(self.linear(self.lstm(mels)[1][0][-1])))

    @staticmethod
    def state(path):
        state = checkpoint(path)["model_state"]
        return {name: value for name, value in state.items() if not name.startswith("similarity")}

    @staticmethod
    def input(batch, steps):
        """The power of mel bands has a heavy tail."""
        return 0.05 * torch.exp(1.5 * torch.randn(batch, steps, 40))


models = {"minilm": MiniLM, "beatnet": BeatNet, "silero": Silero, "resemblyzer": Resemblyzer}


def load(kind, weights):
    """The float model with its weights, a file."""
    model = models[kind]()
    model.load_state_dict(model.state(weights))
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
