#!/usr/bin/env python3
"""Train a small character language model with PyTorch, LSTM or GRU, and write what this example reads (-gru: of the GRU):
  char-lm[-gru].pt           torch.save(state_dict)
  char-lm[-gru].safetensors  the same tensors (needs `pip install safetensors`)
  valid.txt                  held-out text, never trained on, the same for both
  expected[-gru].json        vocabulary, loss, perplexity and agreement, float and dynamically quantized (engine fbgemm)
Text: the King James Bible, public domain; Debian packages bible-kjv and bible-kjv-text: bible -f 'Gen1:1-Rev22:21' > kjv.txt
Usage: train.py kjv.txt SECONDS [gru]"""
import sys, re, time, math, json, os, warnings
import torch, torch.nn as nn, torch.ao.quantization as Q
from torch.ao.quantization import quantize_dynamic
warnings.simplefilter('ignore'); here = os.path.dirname(os.path.abspath(__file__)) + '/'
torch.manual_seed(7); torch.backends.quantized.engine = 'fbgemm'
text = '\n'.join(re.sub(r'^\S+ ', '', l) for l in open(sys.argv[1], encoding='latin1').read().splitlines() if l.strip()) + '\n'
kind = sys.argv[3] if len(sys.argv) > 3 else 'lstm'; RNN = {'lstm': nn.LSTM, 'gru': nn.GRU}[kind]; suffix = '' if kind == 'lstm' else '-' + kind
seconds = float(sys.argv[2]); chars = sorted(set(text)); index = {c: i for i, c in enumerate(chars)}
data = torch.tensor([index[c] for c in text]); cut = int(len(data) * .9); train, valid = data[:cut], data[cut:cut + 40001]

class CharLM(nn.Module):
    def __init__(self, vocabulary, embedding=48, hidden=256, layers=1):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding); self.add_module(kind, RNN(embedding, hidden, layers)); self.decoder = nn.Linear(hidden, vocabulary)
    def forward(self, tokens, state=None):
        out, state = getattr(self, kind)(self.embedding(tokens), state); return self.decoder(out), state

model = CharLM(len(chars)); B, T = 64, 80; n = len(train) // B; streams = train[:n * B].view(B, n).t().contiguous()
optimizer = torch.optim.Adam(model.parameters(), 4e-3); start = time.time(); position = step = 0; state = None
while (done := (time.time() - start) / seconds) < 1:
    for group in optimizer.param_groups: group['lr'] = 4e-3 * min(1, (step + 1) / 50) * (.485 * (1 + math.cos(math.pi * done)) + .03)
    if position + T + 1 > n: position, state = 0, None
    x, y = streams[position:position + T], streams[position + 1:position + T + 1]; position += T
    logits, state = model(x, state); state = state.detach() if kind == 'gru' else tuple(s.detach() for s in state)
    loss = nn.functional.cross_entropy(logits.reshape(-1, len(chars)), y.reshape(-1)); optimizer.zero_grad(); loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.); optimizer.step(); step += 1
    if step % 200 == 0: print(step, f'{time.time() - start:.0f} s', f'{loss.item():.3f}', flush=True)

model.eval(); torch.save(model.state_dict(), here + f'char-lm{suffix}.pt')
from safetensors.torch import save_file
save_file(model.state_dict(), here + f'char-lm{suffix}.safetensors', {'vocabulary': ''.join(chars)})
open(here + 'valid.txt', 'w', encoding='utf8').write(''.join(chars[i] for i in valid))
streams_n = 16; m = (len(valid) - 1) // streams_n                       # 16 equal streams of 2,500 characters, from zero state
x = valid[:m * streams_n].view(streams_n, m).t().contiguous(); y = valid[1:m * streams_n + 1].view(streams_n, m).t().contiguous()
def logits_of(net):
    with torch.no_grad(): return net(x)[0]
reference = logits_of(model)
def report(net):
    out = logits_of(net); loss = nn.functional.cross_entropy(out.reshape(-1, len(chars)), y.reshape(-1)).item()
    return dict(loss=loss, perplexity=math.exp(loss), top1=(out.argmax(-1) == y).float().mean().item(), agreement=(out.argmax(-1) == reference.argmax(-1)).float().mean().item(),
                max_logit_difference=(out - reference).abs().max().item())
spec = lambda qc: {RNN: qc, nn.Linear: qc}
result = dict(torch=torch.__version__, engine='fbgemm', vocabulary=''.join(chars), streams=streams_n, steps=m, text='valid.txt cut into 16 equal streams; input (steps, streams), zero initial state',
    float=report(model), per_tensor=report(quantize_dynamic(model, {RNN, nn.Linear})), per_channel=report(quantize_dynamic(model, spec(Q.per_channel_dynamic_qconfig))),
    float16=report(quantize_dynamic(model, {RNN, nn.Linear}, dtype=torch.float16)),
    **{kind + '_only': report(quantize_dynamic(model, {RNN}))})
json.dump(result, open(here + f'expected{suffix}.json', 'w'), indent=1)
print(json.dumps(result, indent=1)); print('steps', step, 'epochs', step * T / n)
